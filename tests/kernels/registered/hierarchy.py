"""HiPER."""

from __future__ import annotations

import numpy as np

from rl_jax.kernels.advantages import hierarchy
from rl_jax.kernels.rewards import subgoals
from tests.kernels.kernel import Kernel

coin = lambda rng, shape: rng.random(shape) < 0.5
TURNS = {"rewards": "BS", "switch": "BS", "terminated": "B"}
DRAWS = {"switch": coin, "terminated": coin, "boundaries": coin}
CUT = {"discount": 0.9, "bootstrap_truncated": True}
LEVELS = {"low": "BS", "high": "BS", "switch": "BS", "boundaries": "BS", "mask": "BS", "turn_ids": "BT"}
SPANS = {"action_mask": "BT", "subgoal_mask": "BT", "switch_mask": "BT"}
SHAPED = {"rewards": "BS", "switch": "BS", "subgoal_ids": "BS", "valid_actions": "BS", "mask": "BS"}


def _hae(**options):
  axes = {**TURNS, "low_values": "BS", "high_values": "BS", "mask": "BS"}
  return Kernel(hierarchy.hae, axes, options, draws=DRAWS)


def _on_tokens(**options):
  draws = {"boundaries": coin}
  scope = "row" if options.get("normalize") is False else "batch"
  return Kernel(hierarchy.hierarchy_on_tokens, LEVELS | SPANS, options, draws=draws, scope=scope)


def _shaping(**options):
  texts = lambda rng, shape: rng.integers(-1, 3, shape, np.int32)
  draws = {"switch": coin, "valid_actions": coin, "subgoal_ids": texts}
  return Kernel(subgoals.subgoal_shaping, SHAPED, options, draws=draws)


KERNELS = [
  Kernel(hierarchy.segment_boundaries, {"switch": "BS", "mask": "BS"}, draws=DRAWS),
  _hae(),
  _hae(lam_turn=0.8, **CUT),
  Kernel(
    hierarchy.switch_gain,
    {"switch": "BS", "switch_probabilities": "BS", "high_values": "BS", "kept_low_values": "BS", "mask": "BS"},
    draws=DRAWS,
  ),
  Kernel(
    hierarchy.switch_estimate, {**TURNS, "high_values": "BS", "switch_values": "BS", "mask": "BS"}, CUT, draws=DRAWS
  ),
  _on_tokens(),
  _on_tokens(normalize=False),
  _shaping(),
  _shaping(keep_mode="fixed"),
]
