"""Data sets of reasoning-gym by name and parameters, with their own scorer. Imports no JAX: workers load this file."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from rl_jax.tasks.datasets import safe_scoring
from rl_jax.tasks.scoring import Verdict, rule


def create(name: str, parameters: Mapping[str, Any], *, seed: int, size: int) -> Any:
  """The reasoning-gym data set of `size` entries; indexing it makes an entry.

  Raises: ValueError: the package is missing, or there is no such data set or parameter, or one is out of range.
  """
  try:
    from reasoning_gym.factory import DATASETS
  except ModuleNotFoundError as error:
    raise ValueError("the package reasoning-gym is not installed: pip install 'rl-jax[tasks]'") from error
  if name == "composite":
    raise ValueError("'composite' is a mixture: name its data sets under task.levels instead")
  if name not in DATASETS:
    raise ValueError(f"no reasoning-gym data set {name!r}{_nearest(name, DATASETS)}")
  make, config_class = DATASETS[name]
  config_fields = {field.name: field for field in dataclasses.fields(config_class)}
  for parameter in parameters:
    if parameter in ("seed", "size"):
      raise ValueError(f"{name}: {parameter} is no parameter of a level: set task.seed and task.problems")
    if parameter not in config_fields:
      raise ValueError(f"{name}: unknown parameter {parameter!r}{_nearest(parameter, config_fields)}")
  # Configs are saved as JSON, which has no tuples.
  values = {key: tuple(v) if isinstance(config_fields[key].default, tuple) else v for key, v in parameters.items()}
  try:
    config = config_class(**values, seed=seed, size=size)
    return make(config)
  except (AssertionError, TypeError, ValueError) as error:
    raise ValueError(f"{name}: parameters {dict(parameters)} do not fit: {error or type(error).__name__}") from error


def _nearest(name: str, known: Mapping[str, Any]) -> str:
  matches = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
  return f": did you mean {matches[0]!r}?" if matches else f" (known: {', '.join(sorted(known))})"


@functools.cache
def _scoring(name: str, parameters: str) -> Callable[[str | None, Mapping[str, Any]], float]:
  return safe_scoring.scorer(name, create(name, json.loads(parameters), seed=0, size=1))


def score(response: str, entry: Mapping[str, Any], *, levels: Mapping[str, Any], answer: str) -> Verdict:
  """The verdict of the data set's own scorer, as far as it can be trusted (`safe_scoring`), from 0 to 1.

  Args:
    entry: as the data set made it, and `level`.
    levels: level -> {"dataset", "parameters"}, as some scorers read their data set's configuration.
    answer: name of the rule in `scoring.ANSWERS`.
  """
  level = levels[entry["level"]]
  scorer = _scoring(level["dataset"], json.dumps(dict(level["parameters"]), sort_keys=True))
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # NumPy and the grammar comment on answers that are no arrays or formulas
    return Verdict(scorer(rule(answer)(response), entry))
