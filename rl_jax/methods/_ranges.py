"""Ranges of the numbers in a config's section `method`: those of the policy-gradient family, and a method's RANGES."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from rl_jax.inputs import ranges
from rl_jax.inputs.ranges import FINITE, NOT_NEGATIVE, Range

_MOST = 1e6
"""Upper bound of ratios and lengths; a larger number is a mistake."""
_WANTED = "as in {'ddof': Range(0, 1)} with Range of rl_jax.inputs.ranges"

FAMILY = {
  "clip_low": Range(0, _MOST).optional(),
  "clip_high": Range(0, _MOST).optional(),
  "dual_clip": Range(1, _MOST, above=True).optional(),
  "aggregation_constant": Range(0, _MOST, above=True).optional(),
  "kl_coefficient": NOT_NEGATIVE,
  "entropy_coefficient": FINITE,  # negative: entropy is penalised
  "importance_sampling_cap": Range(0, _MOST, above=True).optional(),
  "rejection_bounds": NOT_NEGATIVE.optional(),
  "off_policy_threshold": NOT_NEGATIVE.optional(),
}
"""Ranges of the options of `policy_gradient.get_config`, which users' methods also build on."""


def check_options(config: ConfigDict, module: Any) -> None:
  """Raise UserError for a number in section `method` outside its range, by RANGES of the module and of the family.
  Raise ValueError if RANGES is malformed."""
  options = config.method
  if set(FAMILY) <= set(options):
    ranges.check("method", options, FAMILY)
  own = getattr(module, "RANGES", {})
  _check_ranges(own)
  ranges.check("method", options, own)


def ranges_of(module: Any) -> dict[str, Range]:
  """Ranges of the options of a method's module, by option: those of the family, and its own."""
  return {**FAMILY, **getattr(module, "RANGES", {})}


def _check_ranges(own: Any) -> None:
  """Raise ValueError if RANGES of a user's method is malformed."""
  if not isinstance(own, Mapping):
    raise ValueError(f"RANGES is {own!r}, want a dict by option, {_WANTED}")
  for name, allowed in own.items():
    if not isinstance(allowed, Range) or not all(isinstance(bound, int | float) for bound in allowed[:2]):
      raise ValueError(f"RANGES[{name!r}] is {allowed!r}, want a Range of two numbers, {_WANTED}")


def check_answers(config: ConfigDict) -> None:
  """Raise ValueError for groups of one answer: a method that compares answers learns nothing from them."""
  if config.completions_per_prompt < 2:
    raise ValueError(
      "completions_per_prompt=1: advantages compare the answers to a prompt, and a single answer has advantage 0: "
      "take at least 2"
    )
