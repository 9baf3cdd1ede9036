from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.curricula.hints import difficulty, hint_lengths, hint_ratio
from tests.kernels.kernel import Kernel


def test_worked_example():
  hard = difficulty(jnp.array([0.0, 0.0, 1.0, 0.0, jnp.nan]), None, jnp.array([True] * 4 + [False]))
  ratio = hint_ratio(hard[None], 0.05, low=0.1, high=0.9)
  assert hard == 0.75
  assert ratio[0] == pytest.approx(0.75)
  assert hint_lengths(ratio, jnp.array([10]))[0] == 7


def test_noise_cannot_leave_the_solution():
  ratios = hint_ratio(jnp.array([0.0, 1.0]), jnp.array([-0.2, 0.4]))
  np.testing.assert_array_equal(ratios, [0, 1])
  np.testing.assert_array_equal(hint_lengths(ratios, jnp.array([9, 9])), [0, 9])


def test_rounding_does_not_cut_whole_products():
  lengths = jnp.arange(1, 2000)
  for tenths in range(11):
    whole = lengths * 10
    np.testing.assert_array_equal(hint_lengths(jnp.full(whole.shape, tenths / 10), whole), tenths * lengths)
  assert hint_lengths(jnp.array([0.6999]), jnp.array([10]))[0] == 6


def test_a_group_without_scored_rows_is_hardest():
  rewards, nobody = jnp.ones(2), jnp.zeros(2, bool)
  np.testing.assert_array_equal(difficulty(rewards, jnp.array([3, 3]), nobody), [1, 1])


DRAWS = {
  "difficulties": lambda rng, shape: rng.random(shape).astype("float32"),
  "ratios": lambda rng, shape: rng.random(shape).astype("float32"),
}

KERNELS = [
  Kernel(difficulty, {"rewards": "B", "group_ids": "B", "mask": "B"}, scope="group", zero_masked=False),
  Kernel(hint_ratio, {"difficulties": "B", "noise": "B"}, mask=None, draws=DRAWS),
  Kernel(hint_lengths, {"ratios": "B", "lengths": "B"}, mask=None, draws=DRAWS),
]
