from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.rewards.potential import potential_shaping
from rl_jax.kernels.scans import discounted_sums
from tests.kernels.kernel import Kernel

POTENTIALS = jnp.array([[0.1, 0.4, jnp.nan, 0.3, 0.9]])
MASK = jnp.array([[1, 1, 0, 1, 1]])


def test_hand_computed():
  actual = potential_shaping(POTENTIALS, MASK, discount=0.9)
  np.testing.assert_allclose(actual, [[0.26, -0.13, 0, 0.51, -0.9]], atol=1e-6)


def test_the_return_of_the_shaping_is_minus_the_potential():
  shaping = potential_shaping(POTENTIALS, MASK, discount=0.9)
  returns = discounted_sums(shaping, MASK, discount=0.9)
  np.testing.assert_allclose(returns, [[-0.1, -0.4, 0, -0.3, -0.9]], atol=1e-6)


def test_a_truncated_row_may_end_in_a_potential():
  actual = potential_shaping(POTENTIALS, MASK, discount=0.9, terminal=jnp.array([1.0]))
  np.testing.assert_allclose(actual[0, -1], 0.9 - 0.9, atol=1e-6)


KERNELS = [
  Kernel(
    potential_shaping,
    {"potentials": "BT", "terminal": "B", "mask": "BT"},
    {"discount": 0.9},
  ),
]
