from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.rewards import goals
from tests.kernels.kernel import Kernel


def test_rewards_of_the_worked_example():
  slot = lambda *x: jnp.array([[x]])
  one = jnp.ones((1, 1))
  high = goals.g4rl_high_level(one, slot(0.2, 0.5), slot(1.0, -0.5), one, alpha=0.1)
  np.testing.assert_allclose(high, [[0.995]], rtol=1e-6)
  args = slot(0.0, 1.0), slot(1.0, 1.0), slot(0.6, 0.1), slot(1.0, -0.5), one
  np.testing.assert_allclose(goals.g4rl_low_level(*args, alpha=0.5), [[-0.725]], rtol=1e-6)


SIZES = {"D": 2, "E": 3, "N": 3}

KERNELS = [
  Kernel(
    goals.g4rl_high_level,
    {"rewards": "BT", "embeddings": "BTE", "goal_embeddings": "BTE", "mask": "BT"},
    {"alpha": 0.5},
    sizes=SIZES,
  ),
  Kernel(
    goals.g4rl_low_level,
    {
      "next_features": "BTD",
      "goal_features": "BTD",
      "next_embeddings": "BTE",
      "goal_embeddings": "BTE",
      "mask": "BT",
    },
    {"alpha": 0.5},
    sizes=SIZES,
  ),
]
