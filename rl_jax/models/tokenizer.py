"""Tokenizers of pretrained models: text to ids and back, and conversations as the text that the model knows."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_jax.models import checkpoints, gguf_tokenizer
from rl_jax.models.errors import ModelFileError, package
from rl_jax.models.huggingface import read_json

TOKENIZER, SETTINGS, GENERATION, TEMPLATE = (
  "tokenizer.json",
  "tokenizer_config.json",
  "generation_config.json",
  "chat_template.jinja",
)


@dataclasses.dataclass(frozen=True)
class Tokenizer:
  """A vocabulary as tasks use it.

  Attributes:
    backend: a tokenizer of the package `tokenizers`.
    end_id: ends a response, in a chat the turn.
    pad_id: fills; often the same as `end_id`, as masks, not ids, say what a slot holds.
    start_token: text that some templates begin with; "": none.
    chat_template: Jinja text; "": none.
  """

  backend: Any
  end_id: int
  pad_id: int
  start_token: str = ""
  chat_template: str = ""

  def __len__(self) -> int:
    return self.backend.get_vocab_size(with_added_tokens=True)

  def encode(self, text: str) -> list[int]:
    """Ids of a text. Special tokens that are written out in it become one id each; none are added."""
    return self.backend.encode(text, add_special_tokens=False).ids

  def decode(self, ids: Iterable[int]) -> str:
    """The text of ids, special tokens included; ids beyond the vocabulary, which padded models have, give none."""
    return self.backend.decode([int(i) for i in ids], skip_special_tokens=False)

  def apply_chat_template(
    self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool = False, **variables: Any
  ) -> str:
    """A conversation as text, ready for `encode`.

    Args:
      messages: each with "role" and "content".
      add_generation_prompt: end with the beginning of the assistant's turn.
      variables: more that the template knows, e.g. `enable_thinking`.

    Raises: ModelFileError: there is no template, or it refuses the conversation.
    """
    if not self.chat_template:
      raise ModelFileError("this model has no chat template: put the prompt as plain text")
    try:
      return _template(self.chat_template).render(
        messages=messages,
        add_generation_prompt=add_generation_prompt,
        bos_token=self.start_token,
        eos_token=self.backend.id_to_token(self.end_id),
        pad_token=self.backend.id_to_token(self.pad_id),
        **variables,
      )
    except package("jinja2").TemplateError as error:
      raise ModelFileError(f"the chat template does not take these messages: {error}") from error

  def save(self, folder: Path) -> None:
    """Writes the files that `load` and the `transformers` library read."""
    self.backend.save(str(folder / TOKENIZER))
    settings = {
      "tokenizer_class": "PreTrainedTokenizerFast",
      "eos_token": self.backend.id_to_token(self.end_id),
      "pad_token": self.backend.id_to_token(self.pad_id),
      "clean_up_tokenization_spaces": False,
    }
    settings |= {"bos_token": self.start_token} if self.start_token else {}
    settings |= {"chat_template": self.chat_template} if self.chat_template else {}
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2), encoding="utf-8")


def load(name: str) -> Tokenizer:
  """The tokenizer of a model; see `checkpoints.find` for names.

  Raises: ModelFileError: there is no such model, or it has no tokenizer that can be used.
  """
  path = checkpoints.find(name)
  return from_folder(path) if path.is_dir() else from_gguf(path)


def from_gguf(path: Path) -> Tokenizer:
  """The tokenizer in the metadata of a GGUF file."""
  return Tokenizer(**gguf_tokenizer.read(path))


def from_folder(folder: Path) -> Tokenizer:
  """The tokenizer of a Hugging Face folder: tokenizer.json, and what tokenizer_config.json, generation_config.json and
  chat_template.jinja say."""
  path = folder / TOKENIZER
  if "model" not in read_json(path):
    raise ModelFileError(f"{path} has no field 'model': it is no tokenizer of the package tokenizers")
  backend = package("tokenizers").Tokenizer.from_file(str(path))
  settings = read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
  end_id = _end_id(backend, settings, folder)
  pad = _content(settings.get("pad_token"))
  return Tokenizer(
    backend,
    end_id=end_id,
    pad_id=_id(backend, pad, folder) if pad else end_id,
    start_token=_content(settings.get("bos_token")),
    chat_template=_chat_template(settings, folder),
  )


def _content(token: Any) -> str:
  """A token of tokenizer_config.json, which is text, an object with its text, or null."""
  return (token.get("content", "") if isinstance(token, dict) else token) or ""


def _id(backend: Any, token: str, folder: Path) -> int:
  found = backend.token_to_id(token)
  if found is None:
    raise ModelFileError(f"{folder / SETTINGS} names the token {token!r}, which is not in {folder / TOKENIZER}")
  return found


def _end_id(backend: Any, settings: Mapping[str, Any], folder: Path) -> int:
  """By the tokenizer's settings, which in chat models name the end of a turn; else by those of generation."""
  end = _content(settings.get("eos_token"))
  if end:
    return _id(backend, end, folder)
  path = folder / GENERATION
  ids = read_json(path).get("eos_token_id") if path.is_file() else None
  first = ids[0] if isinstance(ids, list) and ids else ids
  if not isinstance(first, int):
    raise ModelFileError(f"no token ends a response: neither {folder / SETTINGS} has eos_token nor {path} eos_token_id")
  return first


def _chat_template(settings: Mapping[str, Any], folder: Path) -> str:
  path = folder / TEMPLATE
  if path.is_file():
    return path.read_text(encoding="utf-8")
  template = settings.get("chat_template") or ""
  if isinstance(template, list):
    return {entry["name"]: entry["template"] for entry in template}.get("default", "")
  return template


@functools.lru_cache(maxsize=8)
def _template(text: str) -> Any:
  """The compiled template. What some ask for today's date is not given: prompts would change from day to day."""

  def refuse(message: str):
    raise package("jinja2").TemplateError(message)

  sandbox = package("jinja2.sandbox").ImmutableSandboxedEnvironment
  environment = sandbox(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
  environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
  environment.globals["raise_exception"] = refuse
  return environment.from_string(text)
