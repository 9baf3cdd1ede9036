"""Fields of a resolved config in words: value, default, range, and the comment beside the default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from rl_jax.configuration import configs
from rl_jax.configuration.field_comments import comments_of
from rl_jax.configuration.parts import EXPERIMENTS, load_file, meant
from rl_jax.errors import UserError
from rl_jax.inputs.calls import fields_of
from rl_jax.inputs.ranges import Range
from rl_jax.methods.method import ranges_of
from rl_jax.training.ranges import RANGES


def described(config: ConfigDict) -> dict[str, str]:
  """Field -> one line on it, of a resolved config; the fields of stages, which are fields of a run, are left out."""
  comments, defaults, held = _comments(config), _defaults(config), _ranges(config)
  lines: dict[str, str] = {}
  for name, value in _leaves({key: value for key, value in config.to_dict().items() if key != "stages"}):
    text = [f"{name} = {value!r}"]
    if name in defaults and defaults[name] != value:
      text.append(f"(default {defaults[name]!r})")
    if name in held:
      text.append(f"[{held[name].wanted(value)}]")
    if name in comments:
      text.append(comments[name])
    lines[name] = "  ".join(text)
  return lines


def chosen(lines: Mapping[str, str], asked: str) -> list[str]:
  """The lines that a name asks for: the field itself, those of a section, or fields whose name ends so.

  Raises: UserError: there is none.
  """
  below = [line for name, line in lines.items() if name == asked or name.startswith(f"{asked}.")]
  ending = [line for name, line in lines.items() if name.endswith(f".{asked}")]
  if below or ending:
    return below or ending
  names = meant(asked, lines) or meant(asked.rpartition(".")[2], {name.rpartition(".")[2] for name in lines})
  advice = f": did you mean {' or '.join(map(repr, names))}?" if names else ""
  raise UserError(f"no field {asked!r}{advice}")


def _common() -> Any:
  """The module with the fields that every run has."""
  return load_file(str(EXPERIMENTS / "common.py"))


def _comments(config: ConfigDict) -> dict[str, str]:
  found = comments_of(_common())
  for section in configs.ROLES:
    own = comments_of(configs.resolve_role(config[section].name, section))
    found |= {f"{section}.{name}": comment for name, comment in own.items()}
  return found


def _defaults(config: ConfigDict) -> dict[str, Any]:
  found = dict(_leaves(_common().base().to_dict()))
  for section in configs.ROLES:
    own = fields_of(configs.resolve_role(config[section].name, section).get_config)
    found |= dict(_leaves(ConfigDict(own).to_dict(), f"{section}."))
    found.pop(f"{section}.name", None)
  return found


def _ranges(config: ConfigDict) -> dict[str, Range]:
  found = {f"{section}.{name}".lstrip("."): held for section, of in RANGES.items() for name, held in of.items()}
  of_method = ranges_of(configs.resolve_role(config.method.name, "method"))
  return found | {f"method.{name}": held for name, held in of_method.items()}


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
  for name, value in values.items():
    if isinstance(value, Mapping) and value:
      yield from _leaves(value, f"{prefix}{name}.")
    else:
      yield f"{prefix}{name}", value
