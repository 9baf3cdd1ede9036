from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages.best_of_k import pass_at_k
from tests.kernels.kernel import Kernel
from tests.kernels.papers import make_trainers

REWARDS = jnp.array([1.0, 0.0, jnp.nan, 0.25, 1.0, 0.5, 0.5])
IDS = jnp.array([7, 7, 7, 7, -3, -3, 40])
SCORED = jnp.array([True, True, False, True, True, True, True])
ARGS = REWARDS, IDS, SCORED


def test_the_best_of_its_group_gains_what_it_is_ahead_by():
  np.testing.assert_allclose(pass_at_k(*ARGS), [0.75, 0, 0, 0, 0.5, 0, 0])
  scaled = np.array([0.75 / np.std([1, 0, 0.25], ddof=1), 0, 0, 0, 0.5 / np.std([1, 0.5], ddof=1), 0, 0])
  np.testing.assert_allclose(pass_at_k(*ARGS, scale="group", eps=0.0), scaled, rtol=1e-6)


def test_pairs_by_hand():
  """k = 2: row 0 beats 0 by 1 and 0.25 by 0.75; row 3 beats 0 by 0.25 and adds nothing to 1."""
  np.testing.assert_allclose(pass_at_k(*ARGS, k=2), [0.875, 0, 0, 0.125, 0.5, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("k", [None, 2, 3, 4, 9])
def test_all_sets_of_k_rows(k):
  rng = np.random.default_rng(0)
  rewards, ids, mask = rng.choice([0, 0.25, 0.5, 1], 16), rng.integers(0, 3, 16), rng.random(16) < 0.8
  expected = make_trainers.pass_at_k(rewards, ids, mask, k, "none")
  np.testing.assert_allclose(pass_at_k(jnp.array(rewards), jnp.array(ids), jnp.array(mask), k=k), expected, atol=1e-6)


def test_the_gradient_is_that_of_pass_at_k():
  """Exact expectation over the answers of n rows: k / n sum_i A_i d log prob(answer_i) is d pass@k / dp."""
  p, n, k = 0.3, 4, 3
  total = 0.0
  for outcome in np.ndindex(*[2] * n):
    rewards = np.array(outcome, float)
    score = np.where(rewards == 1, 1 / p, -1 / (1 - p))
    advantages = np.asarray(pass_at_k(jnp.array(rewards), jnp.zeros(n, jnp.int32), jnp.ones(n, bool), k=k))
    total += np.prod(np.where(rewards == 1, p, 1 - p)) * k / n * (advantages * score).sum()
  np.testing.assert_allclose(total, k * (1 - p) ** (k - 1), rtol=1e-5)


def test_a_group_without_a_winner_pushes_nowhere():
  same = jnp.full(6, 0.1)
  for scale in ("none", "group"):
    assert not pass_at_k(same, jnp.zeros(6, jnp.int32), jnp.ones(6, bool), scale=scale, eps=0.0).any()
    assert not pass_at_k(same, jnp.arange(6), jnp.ones(6, bool), scale=scale).any()
  assert not pass_at_k(jnp.array([1.0, 1.0, 0.0]), jnp.zeros(3, jnp.int32), jnp.ones(3, bool)).any()


def test_wrong_calls_say_what_to_do():
  with pytest.raises(ValueError, match="k is at least 2, got 1: with k = 1 the reward itself"):
    pass_at_k(*ARGS, k=1)
  with pytest.raises(ValueError, match="unknown scale 'batch'; known: none, group"):
    pass_at_k(*ARGS, scale="batch")


ROWS = {"rewards": "B", "group_ids": "B", "mask": "B"}
KERNELS = [
  Kernel(pass_at_k, ROWS, scope="group"),
  Kernel(pass_at_k, ROWS, {"k": 2, "scale": "group"}, scope="group"),
]
