from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.rewards.subgoals import subgoal_shaping
from tests.kernels.kernel import Kernel

ARGS = (
  jnp.array([[0, 0, 0, 10.0], [0, 0, 0, jnp.nan], [1.0, 0, 0, 0]]),
  jnp.array([[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]),
  jnp.array([[3, 3, 4, 5], [1, -1, 2, 0], [1, 1, 1, 1]]),
  jnp.array([[1, 1, 0, 1], [1, 1, 1, 0], [1, 1, 1, 1]]),
  jnp.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]]),
)


def test_the_paper_s_penalties():
  # Row 0: 2 KEEP turns of 4; row 1: no text on turn 1, so nothing to compare; row 2: one turn, spared.
  expected = [[0, -0.075, -0.075 - 0.1 - 0.3, 10], [-0.1, -0.1, -0.1, 0], [1, 0, 0, 0]]
  np.testing.assert_allclose(subgoal_shaping(*ARGS), expected, rtol=1e-6)


def test_a_fixed_penalty_falls_on_each_kept_turn():
  fixed = subgoal_shaping(*ARGS, keep_mode="fixed", inconsistency_penalty=0.0, invalid_penalty=0.0)
  np.testing.assert_allclose(fixed, [[0, -0.3, -0.3, 10], [-0.3, -0.3, -0.3, 0], [0.7, 0, 0, 0]], rtol=1e-6)


def test_without_penalties_nothing_changes():
  off = subgoal_shaping(*ARGS, keep_penalty=0.0, inconsistency_penalty=0.0, invalid_penalty=0.0)
  np.testing.assert_array_equal(off, jnp.where(ARGS[-1] != 0, ARGS[0], 0))


def test_an_unknown_option_lists_the_known():
  with pytest.raises(ValueError, match="unknown keep_mode 'ratio'; known: normalized, fixed"):
    subgoal_shaping(*ARGS, keep_mode="ratio")


coin = lambda rng, shape: rng.random(shape) < 0.5
SHAPED = {"rewards": "BS", "switch": "BS", "subgoal_ids": "BS", "valid_actions": "BS", "mask": "BS"}


def _shaping(**options):
  texts = lambda rng, shape: rng.integers(-1, 3, shape, np.int32)
  draws = {"switch": coin, "valid_actions": coin, "subgoal_ids": texts}
  return Kernel(subgoal_shaping, SHAPED, options, draws=draws)


KERNELS = [
  _shaping(),
  _shaping(keep_mode="fixed"),
]
