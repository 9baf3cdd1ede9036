"""Resolution of a config: a file, the defaults of the parts that it names, overrides, and a lock.

A file lists only what it changes, but ml_collections rejects overrides of keys that are not listed. `resolve` therefore
works in this order:
  1. the file's `get_config(variant)`;
  2. overrides of the names `method.name`, `task.name`, `model.name`;
  3. each named part's own `get_config()`, under the values of the file; an unknown key is an error;
  4. all other overrides, checked against the type of the present value;
  5. the lock.
References between fields (`config.get_ref`) are resolved when the file returns, before any override.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import inspect
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_collections
import numpy as np
from ml_collections import ConfigDict

from rl_jax.configuration.parts import experiment_file, load, load_file, name_of, nearest, source
from rl_jax.errors import UserError
from rl_jax.inputs.calls import check_names, fields_of
from rl_jax.inputs.users_code import joined, place_of
from rl_jax.models import sizes

__all__ = [
  "identity",
  "resolve",
  "resolve_config",
  "resolve_role",
  "source",
  "to_json",
]

# Sections whose defaults come from the part that `name` names: it has get_config() -> dict and build(config).
ROLES = ("method", "task", "model")
# Dictionaries with keys of the user's choice: a file's value replaces the default as a whole, and any key below is new.
OPEN = ("task.levels", "task.components", "task.training_terms", "task.verifier_arguments", "task.arguments",
  "task.limits", "task.chat_template_arguments", "stages", "mesh.rules", "mesh.rollout_rules", "method.clip_options",
  "method.teacher.model", "method.reward.model",
)  # fmt: skip
# Short forms: config.task.name="reasoning_gym:chain_sum" names a part and one of its fields.
SHORT = {
  ("task", "reasoning_gym"): ("rl_jax.tasks.reasoning_gym", "dataset"),
  ("task", "hugging_face"): ("rl_jax.tasks.hugging_face", "dataset"),
}
# config.model.name="qwen3-8b" names a part by the field alone.
BARE = {("model", name): (sizes.__name__, "architecture") for name in sizes.ARCHITECTURES}
# Former names of fields, for a suggestion.
RENAMED = {"method.prompts": "method.curriculum", "method.max_waves": "method.max_rounds"}
# Fields that do not change the numbers of a run (a mesh only by rounding), or only its length.
NOT_IDENTITY = ("logging", "checkpoint", "mesh", "num_iterations", "num_tokens")


def resolve(path_with_variant: str, overrides: Sequence[str] = ()) -> ConfigDict:
  """Locked config of an experiment ('grpo', 'grpo:smoke' or a file as 'my/grpo.py:smoke'), with overrides
  'key=value'."""
  changes: dict[str, Any] = {}
  for override in overrides:
    key, equals, value = override.removeprefix("--config.").partition("=")
    if not equals:
      raise UserError(f"override {override!r} has no value: write {key}=VALUE")
    changes[key] = value
  return resolve_config(from_file(path_with_variant, experiment_file, "an experiment"), changes)


def split_variant(path_with_variant: str) -> tuple[str, str]:
  """File or name, and variant, of 'grpo', 'grpo:smoke' or 'my/grpo.py:smoke'."""
  match = re.fullmatch(r"(.+\.py)(?::(.*))?", path_with_variant)
  path, _, variant = (match[1], "", match[2] or "") if match else path_with_variant.partition(":")
  return path, variant


def from_file(path_with_variant: str, file_of: Callable[[str], str], kind: str) -> ConfigDict:
  """Config returned by get_config of a file for a variant.

  Args:
    file_of: the file of a name or path.

  Raises: UserError: there is no such file or variant, or it has no get_config.
  """
  path, variant = split_variant(path_with_variant)
  is_missing = path_with_variant.endswith(":")
  variant = ":" if is_missing else variant  # the file's own error lists its variants
  module = load_file(file_of(path))
  get_config = getattr(module, "get_config", None)
  if get_config is None:
    raise UserError(f"{path} has no get_config(variant): it is not {kind}")
  if variant and callable(get_config) and not inspect.signature(get_config).parameters:
    raise UserError(f"{path} has no variants: leave '{path_with_variant.removeprefix(path)}' out")
  try:
    config = fields_of(get_config, *filter(None, [variant]))
  except ValueError as error:
    raise UserError(f"{path}: {joined(str(error))}") from error
  if is_missing:
    raise UserError(f"{path}: the variant behind ':' is missing: leave the colon out, or name a variant")
  return config if isinstance(config, ConfigDict) else ConfigDict(config)


def resolve_experiment(path_with_variant: str, overrides: Sequence[str] = ()) -> ConfigDict:
  """Resolve the config of an experiment, as `resolve`.

  Raises: UserError: it lacks a method, task or model, as a study does.
  """
  config = resolve(path_with_variant, overrides)
  lacks = [section for section in (*ROLES, "checkpoint") if section not in config]
  if lacks:
    kind = "it is a study, run it with rl-jax study" if "entries" in config else "it is no experiment"
    raise UserError(f"{path_with_variant} has no section {', '.join(lacks)}: {kind}")
  return config


def resolve_config(config: ConfigDict | Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> ConfigDict:
  """Resolve a config in memory; override values may be text, as on the command line, or Python values."""
  values = _plain(config)
  try:
    check_names(values, "the configuration")
  except ValueError as error:
    raise UserError(str(error)) from error
  changes = dict(overrides or {})
  defaults = dict(values)
  for section in ROLES:
    if section not in values:
      continue
    name = f"{section}.name"
    if name in changes:
      values[section] = _renamed(section, values[section], changes.pop(name))
    if not values[section].get("name"):
      raise UserError(f"config.{name} is missing: name the {section}, as in 'rl_jax.{section}s.…'")
    values[section] |= _short(section, values[section]["name"])
    role = resolve_role(values[section]["name"], section)
    defaults[section] = {**_defaults(role, section), "name": values[section]["name"]}
    values[section] = _merged(defaults[section], values[section], section)
  for key, value in changes.items():
    _override(values, defaults, key, value)
  resolved = ConfigDict(values)
  resolved.lock()
  return resolved


def _short(section: str, name: str | Any) -> dict[str, Any]:
  """Fields that a short form of a name expands to."""
  short, colon, argument = name.partition(":") if isinstance(name, str) else ("", "", "")
  if colon and (section, short) in SHORT:
    part, field = SHORT[section, short]
    return {"name": part, field: argument}
  if not argument and (section, short) in BARE:
    part, field = BARE[section, short]
    return {"name": part, field: short}
  return {}


def _renamed(section: str, values: dict[str, Any], name: str | Any) -> dict[str, Any]:
  """A file's section under another name. Fields that only the file's own part has are dropped. Under a bare model name,
  which covers all sizes, the number of layers is dropped too."""
  bare = isinstance(name, str) and (section, name) in BARE
  part = _short(section, name).get("name", name)
  defaults = _defaults(resolve_role(part, section), section)
  fields = defaults.keys() - ({"layers"} if bare else set())
  return {field: value for field, value in values.items() if field in fields} | {"name": name}


def resolve_role(name: str | Any, section: str = "") -> Any:
  """The part that a `name` field names (or the object itself): it has get_config() -> dict and build(config).

  Args:
    section: section of the config, whose parts the error lists.
  """
  short = [word for of_section, word in (*BARE, *SHORT) if of_section == section]
  role = load(name, section, short) if isinstance(name, str) else name
  for function in ("get_config", "build"):
    if not callable(getattr(role, function, None)):
      role_name = repr(name) if isinstance(name, str) else name_of(role)
      raise UserError(f"{role_name} cannot be used as method, task or model: it has no {function}()")
  return role


def _defaults(role: Any, section: str) -> dict[str, Any]:
  """Defaults of a section, from get_config of its part. Raises: UserError: it returns no named fields."""
  try:
    return _plain(fields_of(role.get_config))
  except ValueError as error:
    place = place_of(error)
    raise UserError(f"{section}{f' ({place})' if place else ''}: {joined(str(error))}") from error


def _plain(config: Any) -> dict[str, Any]:
  if isinstance(config, ml_collections.FrozenConfigDict):
    config = ConfigDict(config)
  values = config.to_dict() if isinstance(config, ConfigDict) else config
  if not isinstance(values, Mapping):
    raise UserError(f"get_config() gave a {type(values).__name__}: it has to give a ConfigDict")
  return {key: _plain(value) if isinstance(value, Mapping | ConfigDict) else value for key, value in values.items()}


def _merged(defaults: dict[str, Any], values: dict[str, Any], prefix: str) -> dict[str, Any]:
  merged = dict(defaults)
  for name, value in values.items():
    key = f"{prefix}.{name}"
    if name not in defaults:
      keys = [f"{prefix}.{other}" for other in _keys(defaults)]
      raise UserError(f"unknown config key {key!r} in the file{_nearest_key(key, keys)}")
    if isinstance(value, dict) and isinstance(defaults[name], dict):
      merged[name] = value if key in OPEN else _merged(defaults[name], value, key)
    else:
      merged[name] = value if value is None else _checked(key, value, defaults[name], text=False)
  return merged


def _keys(values: Mapping[str, Any]) -> list[str]:
  """All dotted keys, sections included."""
  keys = []
  for name, value in values.items():
    keys += [name, *(f"{name}.{key}" for key in _keys(value))] if isinstance(value, Mapping) else [name]
  return keys


def _nearest_key(key: str, keys: Sequence[str]) -> str:
  """Nearest known key, by full dotted name and by last component, since a wrong section is the commonest mistake."""
  if RENAMED.get(key) in keys:
    return f": it is {RENAMED[key]!r} now"
  last = key.rpartition(".")[2]

  def likeness(other: str) -> float:
    full_ratio = difflib.SequenceMatcher(None, key, other).ratio()
    return max(full_ratio, difflib.SequenceMatcher(None, last, other.rpartition(".")[2]).ratio() - 0.01)

  best = max(keys, key=likeness, default=None)
  if best is not None and likeness(best) >= 0.6:
    return f": did you mean {best!r}?"
  section = key.rpartition(".")[0]
  siblings = [other for other in keys if other.rpartition(".")[0] == section]
  return nearest(key, siblings or keys)


def _is_open(key: str) -> bool:
  return any(key.startswith(opened + ".") for opened in OPEN)


def _override(values: dict[str, Any], defaults: dict[str, Any], key: str, value: Any) -> None:
  *sections, last = key.split(".")
  target, default = values, defaults
  for depth, section in enumerate(sections):
    if not isinstance(target.get(section), dict) and _is_open(".".join(sections[: depth + 1])):
      target[section] = {}
    if not isinstance(target.get(section), dict):
      raise UserError(f"unknown config key {key!r}{_nearest_key(key, _keys(values))}")
    target = target[section]
    below = default.get(section)
    default = below if isinstance(below, dict) else {}
  if last in target:
    # If the file sets None, the default still determines the type.
    present = default.get(last) if target[last] is None else target[last]
    nullable = target[last] is None or default.get(last, ...) is None
    # None itself, not as text, comes from a file, which may set it anywhere.
    target[last] = None if value is None else _checked(key, value, present, nullable)
  elif _is_open(key):
    target[last] = _literal(value)
  else:
    raise UserError(f"unknown config key {key!r}{_nearest_key(key, _keys(values))}")


def _literal(value: Any) -> Any:
  """Python value of a text, or the text itself."""
  if not isinstance(value, str):
    return _plain(value) if isinstance(value, Mapping | ConfigDict) else value
  if value.lower() in ("true", "false", "none"):
    return _WORDS[value.lower()]
  try:
    return ast.literal_eval(_Words().visit(ast.parse(value.strip(), mode="eval")))
  except (ValueError, SyntaxError):
    return value


_BARE_WORDS = re.compile(r"[A-Za-z_]\w*(,[A-Za-z_]\w*)*")
"""Names with commas, which stand for a tuple of texts."""
_WORDS = {"true": True, "false": False, "none": None, "nan": math.nan, "inf": math.inf}


class _Words(ast.NodeTransformer):
  """Value of a tuple with bare words, as in (1e-3,nan), so that the error can name the faulty number."""

  def visit_Name(self, node: ast.Name) -> ast.expr:
    return ast.Constant(_WORDS[node.id.lower()]) if node.id.lower() in _WORDS else node


def _checked(key: str, value: Any, present: Any, nullable: bool = False, text: bool = True) -> Any:
  """`value`, parsed first if `text`, in the type of `present`; raises UserError with key, type and value."""
  literal = _literal(value) if text else value
  if isinstance(value, np.generic):
    value = literal = value.item()
  if present is None:
    return literal
  if nullable and (value is None or (isinstance(value, str) and value.lower() == "none")):
    return None
  expected = type(present).__name__
  if isinstance(present, dict):
    if key not in OPEN and not _is_open(key):
      raise UserError(f"config key {key!r} is a section: set one of its fields ({', '.join(present) or 'none'})")
    expected = "dict"
    if isinstance(literal, dict):
      return literal
  elif isinstance(present, str):
    if isinstance(value, str) or key.rpartition(".")[2] == "name":
      return value
  elif isinstance(present, tuple | list):
    if (
      text and isinstance(literal, str) and _BARE_WORDS.fullmatch(literal) and all(isinstance(x, str) for x in present)
    ):
      literal = literal.split(",")
    if isinstance(literal, tuple | list):
      like = present[0] if present and len({type(item) for item in present}) == 1 else None
      if like is not None:
        literal = [_checked(f"{key}[{i}]", item, like, text=False) for i, item in enumerate(literal)]
      return type(present)(literal)
  elif isinstance(present, bool | int | float):
    number = _number(literal, type(present), text)
    if number is not None:
      return number
  else:  # an object, as a notebook may pass: nothing to compare with
    return value
  raise UserError(f"config key {key!r}: expected {expected}, got {value!r}")


def _number(value: Any, kind: type, text: bool) -> bool | int | float | None:
  """`value` as `kind`, or None if that would lose information: 3.5 is no int, 1 no bool, True no number."""
  if isinstance(value, str) and kind is float and text:
    try:
      return float(value)  # 'inf' and 'nan' are no literals
    except ValueError:
      return None
  if isinstance(value, bool) or kind is bool:
    return value if isinstance(value, bool) and kind is bool else None
  if kind is float and isinstance(value, int | float):
    return float(value)
  if kind is int and isinstance(value, int):
    return value
  if kind is int and isinstance(value, float) and value.is_integer():
    return int(value)
  return None


def _jsonable(value: Any, key: str) -> Any:
  if isinstance(value, Mapping):
    return {str(name): _jsonable(item, f"{key}.{name}" if key else str(name)) for name, item in value.items()}
  if isinstance(value, tuple | list):
    return [_jsonable(item, f"{key}[{i}]") for i, item in enumerate(value)]
  if isinstance(value, np.generic):
    return value.item()
  if value is None or isinstance(value, bool | int | float | str):
    return value
  if key.rpartition(".")[2] == "name":
    return name_of(value)
  raise UserError(f"config key {key!r} holds a {type(value).__name__}, which cannot be recorded: use plain values")


def to_json(config: ConfigDict) -> str:
  """The config as sorted, indented JSON; an object given as a name is written as module:Name."""
  return json.dumps(_jsonable(_plain(config), ""), sort_keys=True, indent=2)


def identity(config: ConfigDict) -> tuple[str, dict[str, Any]]:
  """Identity of a run: SHA-256 and fields of the config.

  Fields in `NOT_IDENTITY` are left out, in stages too. The length of a stage is kept, and so is that of a run whose
  learning rate is scheduled over it.
  """
  values = _jsonable(_plain(config), "")
  fields = {key: value for key, value in values.items() if key not in NOT_IDENTITY}
  if "stages" in fields:
    excluded = set(NOT_IDENTITY) - {"num_iterations", "num_tokens"}
    fields["stages"] = {
      name: {key: value for key, value in stage.items() if key not in excluded}
      for name, stage in fields["stages"].items()
    }
  schedule = values.get("optimizer", {}).get("schedule", "constant")
  if schedule != "constant":  # the name explains the difference between two runs
    fields[f"num_iterations (optimizer.schedule={schedule!r} ends with it)"] = values.get("num_iterations")
  text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
  return hashlib.sha256(text.encode()).hexdigest(), fields
