"""Tokenizer in the metadata of a GGUF file: byte-level BPE with a pattern for splitting text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rl_jax.models.errors import ModelFileError, one_line, package, shown
from rl_jax.models.fields import Fields
from rl_jax.models.gguf import metadata

_PREFIX = "tokenizer.ggml"
"""Prefix of the names of its fields."""

_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5
"""Types of tokens in the format."""

_MORE_TOKENS = {
  "unk_token": "unknown_token_id",
  "sep_token": "seperator_token_id",  # spelt like this in the format
  "cls_token": "cls_token_id",
  "mask_token": "mask_token_id",
}
"""Special tokens that a chat template may name, by their fields."""

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

SPLITS = {"smollm": None, "qwen2": _WORDS % r"\p{N}", "llama-bpe": _WORDS % r"\p{N}{1,3}"}
"""Pattern for splitting text before BPE, by its name in the format; None: GPT-2's, with single digits."""


def read(path: Path) -> dict[str, Any]:
  """The fields of a `Tokenizer`.

  Raises: ModelFileError: the file is missing or broken, or the tokenizer is of another kind.
  """
  fields = Fields(metadata(path), path, noun="")
  model, split = fields.text(f"{_PREFIX}.model"), fields.text(f"{_PREFIX}.pre", "default")
  if model != "gpt2" or split not in SPLITS:
    raise ModelFileError(
      f"{path}: tokenizer {shown(model)} with split {shown(split)}: known are 'gpt2' with {', '.join(SPLITS)}"
    )
  tokens, types = fields.texts(f"{_PREFIX}.tokens"), fields.wholes(f"{_PREFIX}.token_type")
  if len(types) != len(tokens):
    raise ModelFileError(f"{path}: {_PREFIX}.token_type has {len(types)} entries, {_PREFIX}.tokens has {len(tokens)}")
  pairs = [tuple(merge.split(" ")) for merge in fields.texts(f"{_PREFIX}.merges")]
  odd = next((number for number, pair in enumerate(pairs) if len(pair) != 2), None)
  if odd is not None:
    raise ModelFileError(f"{path}: {_PREFIX}.merges[{odd}]={shown(' '.join(pairs[odd]))}: want two tokens and a blank")
  of_vocabulary = lambda key, *default: fields.whole(f"{_PREFIX}.{key}", *default, low=0, high=len(tokens) - 1)
  end_id, start_id = of_vocabulary("eos_token_id"), of_vocabulary("bos_token_id", None)
  with one_line(f"{path}: {_PREFIX}.tokens and .merges make no tokenizer"):
    backend = _backend(tokens, types, pairs, split)
  start = "" if start_id is None else tokens[start_id]
  more = {name: of_vocabulary(key, None) for name, key in _MORE_TOKENS.items()}
  return {
    "backend": backend,
    "end_id": end_id,
    "more_end_ids": tuple(number for number in [of_vocabulary("eot_token_id", end_id)] if number != end_id),
    "pad_id": of_vocabulary("padding_token_id", end_id),
    "start_token": start,
    "text_start": start if fields.flag(f"{_PREFIX}.add_bos_token", True) else "",
    "chat_template": fields.text("tokenizer.chat_template", ""),
    "more_tokens": {name: tokens[number] for name, number in more.items() if number is not None},
  }


def _backend(tokens: list[str], types: list[int], pairs: list[tuple[str, ...]], split: str) -> Any:
  tokenizers = package("tokenizers")
  before = tokenizers.pre_tokenizers
  vocabulary = {token: i for i, (token, kind) in enumerate(zip(tokens, types, strict=True)) if kind != _UNUSED}
  backend = tokenizers.Tokenizer(
    tokenizers.models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=split == "llama-bpe")
  )
  pattern = SPLITS[split]
  first = (
    before.Digits(individual_digits=True)
    if pattern is None
    else before.Split(tokenizers.Regex(pattern), behavior="isolated")
  )
  whole_words = before.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
  backend.pre_tokenizer = before.Sequence([first, whole_words])
  backend.decoder = tokenizers.decoders.ByteLevel()
  if split == "qwen2":
    backend.normalizer = tokenizers.normalizers.NFC()
  added = {_CONTROL: True, _USER_DEFINED: False}
  backend.add_tokens(
    [
      tokenizers.AddedToken(token, special=added[kind], normalized=False)
      for token, kind in zip(tokens, types, strict=True)
      if kind in added
    ]
  )
  return backend
