"""Chat templates: Jinja programs in a model's files, rendered in a sandbox as `transformers` does."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from rl_jax.models.errors import ModelFileError, package, reason, shown

TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")
OURS = ("messages", "add_generation_prompt", *TOKENS)
"""Variables that every template is given."""
_EMPTY = {"tools": None, "documents": None}
"""Variables that `transformers` sets to None, which templates distinguish from undefined."""


def render(text: str, source: str, ours: Mapping[str, Any], more: Mapping[str, Any]) -> str:
  """A conversation as text.

  Args:
    text: the template.
    source: file or folder of the template, for messages.
    ours: values of `OURS`; a token that the model lacks is left out.
    more: variables chosen by the user, such as `enable_thinking`.

  Raises: ModelFileError: the template refuses the conversation, or reads no variable of that name.
  """
  package("jinja2")
  try:
    template, names = _compiled(text)
    if more.keys() <= names:
      return template.render({**_EMPTY, **dict.fromkeys(TOKENS, ""), **more, **ours})
  except Exception as error:  # a template is a program and may raise anything
    raise ModelFileError(f"{source}: the chat template does not take these messages: {reason(error)}") from error
  unknown = next(name for name in more if name not in names)
  raise ModelFileError(
    f"{source}: the chat template reads no variable {shown(unknown)}: it knows {', '.join(sorted(names)) or 'none'}"
  )


@functools.lru_cache(maxsize=8)
def _compiled(text: str) -> tuple[Any, frozenset[str]]:
  """The template, and the names of the variables that it reads besides `OURS`.

  Today's date, which some templates read, is not provided: prompts would change from day to day.
  """
  jinja2, meta = package("jinja2"), package("jinja2.meta")

  def refuse(message: str):
    raise jinja2.TemplateError(message)

  generation = type("Generation", (package("jinja2.ext").Extension,), {"tags": {"generation"}, "parse": _inside})
  environment = package("jinja2.sandbox").ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", generation]
  )
  environment.filters["tojson"] = _as_json
  environment.globals["raise_exception"] = refuse
  names = meta.find_undeclared_variables(environment.parse(text))
  return environment.from_string(text), frozenset(names - set(environment.globals) - set(OURS))


def _inside(extension: Any, parser: Any) -> Any:
  """Contents of {% generation %}…{% endgeneration %}, which mark an assistant's text in templates."""
  next(parser.stream)
  return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _as_json(
  value: Any,
  ensure_ascii: bool = False,
  indent: int | None = None,
  separators: tuple[str, str] | None = None,
  sort_keys: bool = False,
) -> str:
  """JSON as `transformers` writes it, without Jinja's escapes for HTML."""
  return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
