"""Tokenizers of pretrained models: text to ids and back, and conversations through chat templates."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_jax.models import chat_template, gguf_tokenizer, pretrained_files
from rl_jax.models.errors import ModelFileError, one_line, package, shown
from rl_jax.models.fields import MOST, Fields
from rl_jax.models.huggingface import read_json

TOKENIZER, SETTINGS, GENERATION, TEMPLATE = (
  "tokenizer.json",
  "tokenizer_config.json",
  "generation_config.json",
  "chat_template.jinja",
)
_MORE_TOKENS = chat_template.TOKENS[3:]
"""Special tokens without a field in `Tokenizer`."""
_IDS = 2**32
"""Bound of ids, which are unsigned 32-bit numbers in the package tokenizers."""
_OPEN, _CLOSE = "\udffe", "\udfff"
"""Marks around a text whose control tokens are plain text: lone surrogates, which no text file contains."""


@dataclasses.dataclass(frozen=True)
class Tokenizer:
  """Tokenizer as used by tasks.

  Attributes:
    backend: a tokenizer of the package `tokenizers`.
    end_id: id that ends a response or a turn of a chat.
    pad_id: id of padding; often the same as `end_id`, since masks, not ids, mark padding.
    start_token: text that some templates begin with; "": none.
    text_start: beginning of text outside a conversation, the start token or "".
    chat_template: Jinja text; "": none, as base models have.
    more_end_ids: further ids of which each ends a response, as some models have one for a turn and one for a text.
    more_tokens: other special tokens that a template may name, by `chat_template.TOKENS`.
    source: file or folder of the tokenizer, for messages.
  """

  backend: Any
  end_id: int
  pad_id: int
  start_token: str = ""
  text_start: str = ""
  chat_template: str = ""
  more_end_ids: tuple[int, ...] = ()
  more_tokens: Mapping[str, str] = dataclasses.field(default_factory=dict)
  source: str = "a tokenizer"

  def __len__(self) -> int:
    return self.backend.get_vocab_size(with_added_tokens=True)

  def encode(self, text: str) -> list[int]:
    """Ids of a text. Special tokens written out in it become one id each, except in text marked by `quoted`; none are
    added.

    Raises: ModelFileError: a part that `quoted` has marked is not whole, or cannot be written without control tokens.
    """
    if _OPEN not in text and _CLOSE not in text:
      return self._ids(self.backend, text)
    ids: list[int] = []
    for number, piece in enumerate(re.split(f"{_OPEN}(.*?){_CLOSE}", text, flags=re.DOTALL)):
      if _OPEN in piece or _CLOSE in piece:
        raise ModelFileError(f"{self.source}: the chat template cuts a message in which control tokens are written out")
      ids += self._encode_literally(piece) if number % 2 else self._ids(self.backend, piece)
    return ids

  def quoted(self, text: str) -> str:
    """Text that `encode` reads without control tokens: marked if it writes some out, else unchanged."""
    if not any(part in text for part in self._control_texts) or self._control.isdisjoint(self._ids(self.backend, text)):
      return text
    inner = text.strip() or text  # templates strip white space
    before, _, after = text.partition(inner)
    return f"{before}{_OPEN}{inner}{_CLOSE}{after}"

  @functools.cached_property
  def _control(self) -> frozenset[int]:
    """Ids of control tokens. Other added tokens, such as <think>, count as text."""
    added = self.backend.get_added_tokens_decoder()
    own_ids = {self.end_id, *self.more_end_ids, self.pad_id, self.backend.token_to_id(self.start_token)}
    return frozenset(number for number, token in added.items() if token.special or number in own_ids)

  @functools.cached_property
  def _control_texts(self) -> list[str]:
    """Texts of which a text that writes out a control token has one; "", which each text has, if it may be normalised
    into one."""
    tokens = [token for number, token in self.backend.get_added_tokens_decoder().items() if number in self._control]
    return [""] if any(token.normalized for token in tokens) else [token.content for token in tokens]

  @functools.cached_property
  def _literal(self) -> Any:
    """Copy of the tokenizer that can read control tokens as text."""
    values = json.loads(self.backend.to_str())
    for token in values["added_tokens"]:
      token["special"] = token["id"] in self._control
    with one_line(f"{self.source}: the tokenizer cannot be copied"):  # of two tokens with one id the copy has one
      return package("tokenizers").Tokenizer.from_str(json.dumps(values))

  def _encode_literally(self, text: str) -> list[int]:
    self._literal.encode_special_tokens = True  # set each time, since a copy in another process loses it
    ids = self._ids(self._literal, text)
    control = next((number for number in ids if number in self._control), None)
    if control is not None:
      raise ModelFileError(f"{self.source}: {shown(text)} cannot be written without {self._text_of(control)!r}")
    return ids

  def _ids(self, backend: Any, text: str) -> list[int]:
    with one_line(f"{self.source}: {shown(text)} cannot be encoded"):
      return backend.encode(text, add_special_tokens=False).ids

  def decode(self, ids: Iterable[int]) -> str:
    """Text of ids, special tokens included; ids beyond the vocabulary, as in padded models, give no text."""
    return self.backend.decode([int(i) for i in ids], skip_special_tokens=False)

  def apply_chat_template(
    self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool = False, **variables: Any
  ) -> str:
    """A conversation as text, ready for `encode`.

    Args:
      messages: each with "role" and "content".
      add_generation_prompt: end with the beginning of the assistant's turn.
      variables: further variables of the template, such as `enable_thinking`.

    Raises: ModelFileError: there is no template, it refuses the conversation, or it does not know a variable.
    """
    if not self.chat_template:
      raise ModelFileError(f"{self.source}: this model has no chat template: put the prompt as plain text")
    own_variables = {
      "messages": messages,
      "add_generation_prompt": add_generation_prompt,
      "bos_token": self.start_token,
      "eos_token": self._text_of(self.end_id),
      "pad_token": self._text_of(self.pad_id),
      **self.more_tokens,
    }
    return chat_template.render(self.chat_template, self.source, own_variables, variables)

  def _text_of(self, token: int) -> str:
    return self.backend.id_to_token(token)

  def save(self, folder: Path) -> None:
    """Write the files that `load` and the `transformers` library read."""
    self.backend.save(str(folder / TOKENIZER))
    settings = {
      "tokenizer_class": "PreTrainedTokenizerFast",
      "eos_token": self.backend.id_to_token(self.end_id),
      "pad_token": self.backend.id_to_token(self.pad_id),
      "clean_up_tokenization_spaces": False,
    }
    settings |= {"bos_token": self.start_token, "add_bos_token": bool(self.text_start)} if self.start_token else {}
    settings |= self.more_tokens
    settings |= {"chat_template": self.chat_template} if self.chat_template else {}
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2), encoding="utf-8")


def load(name: str) -> Tokenizer:
  """The tokenizer of a model; see `pretrained_files.find` for names.

  Raises: ModelFileError: there is no such model, or it has no tokenizer that can be used.
  """
  path = pretrained_files.find(name)
  return from_folder(path) if path.is_dir() else from_gguf(path)


def from_gguf(path: Path) -> Tokenizer:
  """The tokenizer in the metadata of a GGUF file."""
  return _checked(Tokenizer(**gguf_tokenizer.read(path), source=str(path)), path)


def from_folder(folder: Path) -> Tokenizer:
  """The tokenizer of a Hugging Face folder: tokenizer.json, and what tokenizer_config.json, generation_config.json and
  chat_template.jinja say."""
  path = folder / TOKENIZER
  if "model" not in read_json(path):
    raise ModelFileError(f"{path} has no field 'model': it is no tokenizer of the package tokenizers")
  read = package("tokenizers").Tokenizer.from_file
  with one_line(f"{path} is no tokenizer of the package tokenizers"):
    backend = read(str(path))
  settings = _fields(folder / SETTINGS)
  end_id, *more_end_ids = _end_ids(backend, settings, folder)
  pad = _content(settings, "pad_token", folder)
  start = _content(settings, "bos_token", folder)
  more = {name: _content(settings, name, folder) for name in _MORE_TOKENS}
  tokenizer = Tokenizer(
    backend,
    end_id=end_id,
    pad_id=_id(backend, pad, folder) if pad else end_id,
    start_token=start,
    text_start=start if settings.flag("add_bos_token", True) else "",
    chat_template=_chat_template(settings, folder),
    more_end_ids=tuple(more_end_ids),
    more_tokens={name: token for name, token in more.items() if token},
    source=str(folder),
  )
  return _checked(tokenizer, folder)


def _checked(tokenizer: Tokenizer, path: Path) -> Tokenizer:
  ends = [("eos_token", token) for token in (tokenizer.end_id, *tokenizer.more_end_ids)]
  for name, token in (*ends, ("pad_token", tokenizer.pad_id)):
    if tokenizer.backend.id_to_token(token) is None:
      size = len(tokenizer)
      raise ModelFileError(f"{path}: {name} has the id {token}, which is not in the vocabulary of {size} tokens")
  token, largest = max(tokenizer.backend.get_vocab(with_added_tokens=True).items(), key=lambda entry: entry[1])
  if largest >= MOST:
    raise ModelFileError(f"{path}: the token {shown(token)} has the id {largest}: want at most {MOST - 1}")
  return tokenizer


def _fields(path: Path) -> Fields:
  """The fields of a file that may be missing."""
  return Fields(read_json(path) if path.is_file() else {}, path)


def _content(settings: Fields, name: str, folder: Path) -> str:
  """Token of tokenizer_config.json: text, an object with its text, or null."""
  token = settings.either(name, "", (str, dict), "text or an object with its text")
  return Fields(token, f"{folder / SETTINGS}: {name}").text("content", "") if isinstance(token, dict) else token


def _id(backend: Any, token: str, folder: Path) -> int:
  token_id = backend.token_to_id(token)
  if token_id is None:
    raise ModelFileError(f"{folder / SETTINGS} names the token {shown(token)}, which is not in {folder / TOKENIZER}")
  return token_id


def _end_ids(backend: Any, settings: Fields, folder: Path) -> list[int]:
  """Ids of which each ends a response: the end token of the tokenizer's settings (in chat models the end of a turn)
  first, where they have one, and those of generation."""
  end = _content(settings, "eos_token", folder)
  own = [_id(backend, end, folder)] if end else []
  path = folder / GENERATION
  generation = _fields(path)
  ids = generation.either("eos_token_id", None, (int, list), "an id or a list of ids")
  ids = generation.wholes("eos_token_id") if isinstance(ids, list) else [] if ids is None else [ids]
  if not own and not ids:
    raise ModelFileError(f"no token ends a response: neither {folder / SETTINGS} has eos_token nor {path} eos_token_id")
  unknown = [number for number in ids if not 0 <= number < _IDS or backend.id_to_token(number) is None]
  if unknown:
    size = backend.get_vocab_size(with_added_tokens=True)
    raise generation.refused("eos_token_id", f"ids of the vocabulary, which has {size} tokens and none {unknown[0]}")
  return list(dict.fromkeys([*own, *ids]))


def _chat_template(settings: Fields, folder: Path) -> str:
  path = folder / TEMPLATE
  if path.is_file():
    try:
      return path.read_text(encoding="utf-8")
    except OSError as error:
      raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
      raise ModelFileError(f"{path} is no UTF-8: {error}") from error
  template = settings.either("chat_template", "", (str, list), "text or a list of named templates")
  if isinstance(template, str):
    return template
  templates = {}
  for number, entry in enumerate(template):
    if not isinstance(entry, dict):
      raise settings.refused("chat_template", "text or a list of objects with name and template")
    fields = Fields(entry, f"{folder / SETTINGS}: chat_template[{number}]")
    templates[fields.text("name")] = fields.text("template")
  return templates.get("default", "")
