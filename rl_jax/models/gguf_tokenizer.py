"""The tokenizer that a GGUF file describes in its metadata: byte-level BPE, and how text is split before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rl_jax.models.errors import ModelFileError, package
from rl_jax.models.gguf import metadata

_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5
"""Types of tokens in the format."""

_WORDS = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

SPLITS = {"smollm": None, "qwen2": _WORDS % r"\p{N}", "llama-bpe": _WORDS % r"\p{N}{1,3}"}
"""Pattern of the pieces that are encoded apart, by the format's name for it; None: GPT-2's, and digits one by one."""


def read(path: Path) -> dict[str, Any]:
  """The fields of a `Tokenizer`.

  Raises: ModelFileError: the file is missing or broken, or the tokenizer is of another kind.
  """
  values = metadata(path)
  field = lambda key, *default: _field(values, path, f"tokenizer.ggml.{key}", *default)
  if field("model") != "gpt2" or field("pre", "default") not in SPLITS:
    raise ModelFileError(
      f"{path}: tokenizer {field('model')!r} with split {field('pre', 'default')!r}: "
      f"known are 'gpt2' with {', '.join(SPLITS)}"
    )
  tokens, end_id, start_id = field("tokens"), field("eos_token_id"), field("bos_token_id", None)
  return {
    "backend": _backend(tokens, field("token_type"), field("merges"), field("pre")),
    "end_id": end_id,
    "pad_id": field("padding_token_id", end_id),
    "start_token": "" if start_id is None else tokens[start_id],
    "chat_template": values.get("tokenizer.chat_template", ""),
  }


def _field(values: dict[str, Any], path: Path, key: str, *default: Any) -> Any:
  if key not in values and not default:
    raise ModelFileError(f"{path} has no {key!r}")
  return values.get(key, *default)


def _backend(tokens: list[str], types: list[int], merges: list[str], split: str) -> Any:
  tokenizers = package("tokenizers")
  before = tokenizers.pre_tokenizers
  vocabulary = {token: i for i, (token, kind) in enumerate(zip(tokens, types, strict=True)) if kind != _UNUSED}
  pairs = [tuple(merge.split(" ")) for merge in merges]
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
