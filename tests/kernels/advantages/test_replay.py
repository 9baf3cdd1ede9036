from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.advantages import group, replay
from tests.kernels.kernel import Kernel

# Five new responses that all failed, two replayed ones, and an empty replay slot.
REWARDS = jnp.array([5 / 12, 1 / 12, 1 / 12, 0.0, 5 / 12, 1.75, 5 / 3, jnp.nan])
IDS = jnp.full(8, 7)
FILLED = jnp.arange(8) < 7


def test_all_wrong_with_history():
  expected = [-0.236707463, -0.604919073, -0.604919073, -0.696971976, -0.236707463, 1.236138976, 1.144086073, 0]
  np.testing.assert_allclose(replay.r3_mixed(REWARDS, IDS, FILLED, alpha=1.2), expected, rtol=1e-5)


def test_alpha_one_is_grpo_and_may_differ_by_row():
  plain = group.grpo(REWARDS, IDS, FILLED, singleton="zero")
  np.testing.assert_allclose(replay.r3_mixed(REWARDS, IDS, FILLED), plain, rtol=1e-6)
  by_row = replay.r3_mixed(REWARDS, IDS, FILLED, alpha=jnp.where(jnp.arange(8) < 5, 1.0, 2.0), lam=0.0)
  halved = jnp.where(jnp.arange(8) < 5, 1, 0.5) * group.grpo(REWARDS, IDS, FILLED, singleton="zero", eps=0.0)
  np.testing.assert_allclose(by_row, halved, rtol=1e-6)


def test_no_variance_gives_zero():
  assert not replay.r3_mixed(jnp.full(8, 0.1), IDS, FILLED, lam=0.0).any()
  assert not replay.r3_mixed(REWARDS[:7], jnp.arange(7), FILLED[:7], lam=0.0).any()


MIXED = {"rewards": "B", "group_ids": "B", "mask": "B"}

KERNELS = [
  Kernel(replay.r3_mixed, MIXED, {"alpha": 1.2}, scope="group"),
]
