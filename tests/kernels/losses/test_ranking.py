from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.losses import ranking
from tests.kernels.kernel import Kernel
from tests.kernels.numerics import finite_difference

REWARDS = np.array([0.3, -0.2, 0.1, np.nan, 0.4, 0.4, -1.0])
RANKS = np.array([2, 1, 3, 1, 1, 2, 1])
IDS = np.array([7, 7, 7, 7, -3, -3, 50])
SCORED = np.array([1, 1, 1, 0, 1, 1, 1])


def pairs(rewards):
  """Differences better minus worse, by prompt."""
  found = {}
  for i in range(7):
    for j in range(7):
      if SCORED[i] and SCORED[j] and IDS[i] == IDS[j] and RANKS[i] < RANKS[j]:
        found.setdefault(IDS[i], []).append(rewards[i] - rewards[j])
  return found


def reference(rewards):
  return np.mean([np.mean([np.log1p(np.exp(-d)) for d in of_prompt]) for of_prompt in pairs(rewards).values()])


def test_value_and_gradient_against_loops():
  with jax.enable_x64(True):
    loss = lambda x: ranking.pairwise_ranking(x, jnp.array(RANKS), jnp.array(IDS), jnp.array(SCORED)).value
    value, gradient = map(np.asarray, jax.value_and_grad(loss)(jnp.array(REWARDS)))
  np.testing.assert_allclose(value, reference(REWARDS), rtol=1e-12)
  scored = SCORED == 1
  np.testing.assert_allclose(gradient[scored], finite_difference(reference, REWARDS)[scored], atol=1e-8)
  assert gradient[3] == 0


def test_two_responses_are_the_bradley_terry_loss():
  args = jnp.array([1, 2]), jnp.array([5, 5]), jnp.ones(2)
  np.testing.assert_allclose(ranking.pairwise_ranking(jnp.array([1.875, 0.0]), *args).value, 0.142675, rtol=1e-5)
  np.testing.assert_allclose(ranking.pairwise_ranking(jnp.array([-500.0, 500.0]), *args).value, 1000)


def test_consistency_counts_equal_rewards_as_wrong():
  right, total = ranking.ranking_consistency(*map(jnp.array, (REWARDS, RANKS, IDS, SCORED)))
  differences = np.concatenate(list(pairs(REWARDS).values()))
  assert (right, total) == ((differences > 0).sum(), differences.size) == (1, 4)


def test_without_pairs_the_weight_is_zero():
  tied = jnp.array([1.0, 2.0]), jnp.array([1, 1]), jnp.array([0, 0]), jnp.ones(2)
  apart = jnp.array([1.0, 2.0]), jnp.array([1, 2]), jnp.array([0, 1]), jnp.ones(2)
  for args in (tied, apart):
    for of in (ranking.pairwise_ranking, ranking.ranking_consistency):
      assert (of(*args).weight, of(*args).value) == (0, 0)


def test_best_of_n_is_the_first_of_equals_and_scored():
  best = ranking.best_of_n(*map(jnp.array, (REWARDS, IDS, SCORED)))
  assert best.tolist() == [True, False, False, False, True, False, True]


def test_shapes_are_checked():
  with pytest.raises(ValueError, match=r"pairwise_ranking: expected arrays of one shape \[B\]"):
    ranking.pairwise_ranking(jnp.ones((2, 3)), jnp.ones(2), jnp.ones(2, int), jnp.ones(2))


RANKED = {"rewards": "B", "ranks": "B", "group_ids": "B", "mask": "B"}


def _small(rng, shape):
  return rng.integers(1, 4, shape).astype(np.int32)


KERNELS = [
  Kernel(ranking.pairwise_ranking, RANKED, scope="group", gradients=("rewards",), draws={"ranks": _small}),
  Kernel(ranking.ranking_consistency, RANKED, scope="group", draws={"ranks": _small}),
  Kernel(ranking.best_of_n, {"rewards": "B", "group_ids": "B", "mask": "B"}, scope="group"),
  Kernel(
    ranking.swap_consistent_ranks,
    {"answers": "B", "swapped_answers": "B", "mask": "B"},
    draws={"answers": _small, "swapped_answers": _small},
  ),
]
