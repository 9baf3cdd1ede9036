from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.rewards.scaling import ReturnStatistics, scale_rewards
from tests.kernels.kernel import Kernel, compiled

RNG = np.random.default_rng(0)
REWARDS, MASK = RNG.normal(size=(3, 6, 2)) * np.array([1, 20]), RNG.random((3, 6)) < 0.8


def test_scales_against_loops_and_in_pieces():
  """The variance over all sums so far, that of 1e-4 samples of the start among them."""
  start = ReturnStatistics.empty(3, 2)
  scale = compiled(scale_rewards, discount=0.9, clip=2.0)
  found = scale(start, REWARDS, MASK)
  sums, seen = np.zeros((3, 2)), []
  for t in range(6):
    for b in range(3):
      if MASK[b, t]:
        sums[b] = 0.9 * sums[b] + REWARDS[b, t]
        seen.append(sums[b].copy())
    scaled = np.clip(REWARDS[:, t] / np.sqrt(np.var(seen, axis=0)), -2, 2) * MASK[:, t, None]
    if len(seen) > 3:  # the start has no weight any more
      np.testing.assert_allclose(found.rewards[:, t], scaled, rtol=1e-3)
  np.testing.assert_allclose(found.statistics.sums, sums, rtol=1e-5)
  first = scale(start, REWARDS[:, :3], MASK[:, :3])
  second = scale(first.statistics, REWARDS[:, 3:], MASK[:, 3:])
  np.testing.assert_allclose(np.concatenate([first.rewards, second.rewards], axis=1), found.rewards, rtol=1e-5)


def test_units_of_an_objective_do_not_matter():
  found = compiled(scale_rewards, clip=2.0)(ReturnStatistics.empty(3, 2), REWARDS, MASK)
  other = compiled(scale_rewards, clip=2.0)(ReturnStatistics.empty(3, 2), 50 * REWARDS, MASK)
  np.testing.assert_allclose(other.rewards[:, 2:], found.rewards[:, 2:], rtol=1e-2)


def _scaled(sums, rewards, mask):
  start = ReturnStatistics(sums, jnp.asarray(2.0), jnp.zeros(3), jnp.ones(3))
  return scale_rewards(start, rewards, mask)


KERNELS = [
  Kernel(
    _scaled,
    {"sums": "BK", "rewards": "BTK", "mask": "BT"},
    scope="batch",
    covers={"sums": ""},
    zero_masked=False,  # the statistics are those from before
    public=scale_rewards,
  )
]
