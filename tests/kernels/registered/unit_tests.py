"""Rewards from unit tests (VeRPO) and their advantages."""

from __future__ import annotations

from rl_jax.kernels.advantages import outcome
from rl_jax.kernels.rewards import unit_tests
from tests.kernels.kernel import Kernel

BINARY = {"passes": lambda rng, shape: (rng.random(shape) < 0.7).astype("float32")}
TESTS = {"passes": "BSK", "group_ids": "B", "turn_mask": "BS", "test_mask": "BK"}
TURNS = {"turn_rewards": "BS", "outcomes": "B", "group_ids": "B", "turn_mask": "BS"}


def _weights(**options):
  return Kernel(
    unit_tests.unit_test_weights,
    TESTS,
    options,
    mask="turn_mask",
    scope="group",
    zero_masked=False,
    draws=BINARY,
  )


KERNELS = [
  _weights(),
  _weights(kind="pass_rate"),
  Kernel(unit_tests.weighted_passes, {"passes": "BSK", "weights": "BK", "turn_mask": "BS"}, mask="turn_mask"),
  Kernel(
    unit_tests.full_pass_outcome,
    {"passes": "BSK", "turn_mask": "BS", "test_mask": "BK"},
    mask="turn_mask",
    draws=BINARY,
  ),
  Kernel(outcome.verpo, TURNS, {"beta": 0.5}, mask="turn_mask", scope="group"),
  Kernel(outcome.verpo, TURNS, {"scale": "group"}, mask="turn_mask", scope="group"),
  Kernel(
    outcome.degenerate_groups,
    {"advantages": "BS", "group_ids": "B", "turn_mask": "BS"},
    mask="turn_mask",
    scope="group",
    zero_masked=False,
  ),
]
