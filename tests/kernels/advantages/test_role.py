from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.advantages.role import rae
from tests.kernels.kernel import Kernel
from tests.kernels.papers import make_trainers

REWARDS = jnp.array([1.0, -1.0, jnp.nan, 1.0, -1.0])
ROLES = jnp.array([0, 1, 0, 0, 1])
SCORED = jnp.array([True, True, False, True, True])


def test_each_role_against_what_it_has_earned():
  estimate = rae(REWARDS, ROLES, SCORED, jnp.zeros(2), decay=0.75)
  np.testing.assert_allclose(estimate.advantages, [1, -1, 0, 0.75, -0.75])
  np.testing.assert_allclose(estimate.baselines, [0.4375, -0.4375])


def test_rows_one_after_the_other():
  rng = np.random.default_rng(0)
  rewards, roles, mask = rng.normal(size=90), rng.integers(0, 3, 90), rng.random(90) < 0.8
  baselines = rng.normal(size=3)
  expected = make_trainers.rae(rewards, roles, mask, baselines, 0.9)
  actual = rae(*(jnp.array(x) for x in (rewards, roles, mask, baselines)), decay=0.9)
  for got, want in zip(actual, expected, strict=True):
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_two_batches_are_one_after_the_other():
  rewards, roles, mask = jnp.arange(6.0), jnp.array([0, 1, 1, 0, 0, 1]), jnp.ones(6, bool)
  whole = rae(rewards, roles, mask, jnp.zeros(2))
  first = rae(rewards[:2], roles[:2], mask[:2], jnp.zeros(2))
  second = rae(rewards[2:], roles[2:], mask[2:], first.baselines)
  np.testing.assert_allclose(jnp.concatenate([first.advantages, second.advantages]), whole.advantages, rtol=1e-6)
  np.testing.assert_allclose(second.baselines, whole.baselines, rtol=1e-6)


def test_rows_of_no_role_and_a_batch_without_verdicts_change_nothing():
  estimate = rae(REWARDS, ROLES + 5, SCORED, jnp.array([0.5, 0.25]))
  assert not estimate.advantages.any() and estimate.baselines.tolist() == [0.5, 0.25]
  assert rae(REWARDS, ROLES, SCORED & False, jnp.array([0.5, 0.25])).baselines.tolist() == [0.5, 0.25]


KERNELS = [
  Kernel(
    rae, {"rewards": "B", "roles": "B", "mask": "B", "baselines": "K"}, scope="batch", ordered=True, zero_masked=False,
    draws={"roles": lambda rng, shape: rng.integers(0, 3, shape).astype(np.int32)},
  )
]  # fmt: skip
