from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.losses.mixture import cispo_with_imitation, pdr_loss
from rl_jax.kernels.reductions import per_token
from tests.kernels.kernel import Kernel

LOGPROBS = jnp.array([[-0.5, -1.0], [-0.2, jnp.nan]])
OLD = jnp.array([[-1.0, -1.0], [-0.2, jnp.nan]])
MASK = jnp.array([[1, 1], [1, 0]])
REWARDS = jnp.array([1.0, -1.0])
ADVANTAGES = per_token(grpo(REWARDS, jnp.array([7, 7]), jnp.ones(2, bool), ddof=0), MASK)


def loss(logprobs, **options):
  return cispo_with_imitation(logprobs, OLD, ADVANTAGES, REWARDS > 0, MASK, **options)


def test_worked_example():
  parts = loss(LOGPROBS)
  np.testing.assert_allclose([parts.policy.value, parts.imitation.value], [0.479999520, 0.75], rtol=1e-6)
  np.testing.assert_allclose(parts.value(), 0.554999520, rtol=1e-6)
  gradient = jax.grad(lambda x: loss(x).value())(LOGPROBS)
  np.testing.assert_allclose(gradient, [[-0.476666240, -0.383333000], [0.333333000, 0]], rtol=1e-6)


def test_the_lower_side_is_open_by_default():
  rare = jnp.where(MASK, OLD - 3, 0.0)
  open_, closed = (jax.grad(lambda x, o=o: loss(x, **o).policy.value)(rare)[1, 0] for o in ({}, {"clip_low": 0.2}))
  np.testing.assert_allclose([open_, closed], np.array([np.exp(-3), 0.8]) / 3, rtol=1e-5)


def test_only_correct_rows_are_imitated():
  none = cispo_with_imitation(LOGPROBS, OLD, 0 * ADVANTAGES, jnp.zeros(2, bool), MASK)
  assert none.value() == 0 and none.imitation.weight == 0
  # All correct: advantages are 0, and each row counts the same, whatever its length.
  both = cispo_with_imitation(LOGPROBS, OLD, 0 * ADVANTAGES, jnp.ones(2, bool), MASK)
  assert both.value(alpha=1.0) == pytest.approx((0.75 + 0.2) / 2)


def test_halves_weigh_the_same_whatever_their_sizes():
  double = lambda x: jnp.concatenate([x, x, x])
  refined = jnp.array([False, False, True, True, True, True])
  args = double(LOGPROBS), double(OLD), double(ADVANTAGES), double(REWARDS) > 0
  mixture = pdr_loss(*args, refined, double(MASK))
  assert mixture.operator.policy.weight == 2 * mixture.trace.policy.weight
  np.testing.assert_allclose(mixture.value(), loss(LOGPROBS).value(), rtol=1e-6)
  alone = pdr_loss(*args, jnp.zeros(6, bool), double(MASK))
  np.testing.assert_allclose(alone.value(), loss(LOGPROBS).value() / 2, rtol=1e-6)
  np.testing.assert_allclose(alone.value(share=0.0), loss(LOGPROBS).value(), rtol=1e-6)


COUNTS = lambda rng, shape: rng.integers(1, 50, shape).astype("int32")
FLAGS = lambda rng, shape: rng.random(shape) < 0.5
DRAWS = {"refined": FLAGS}
POLICY = {"logprobs": "BT", "old_logprobs": "BT", "advantages": "BT", "correct": "B", "mask": "BT"}

KERNELS = [
  Kernel(cispo_with_imitation, POLICY, gradients=("logprobs",)),
  Kernel(pdr_loss, POLICY | {"refined": "B"}, gradients=("logprobs",), draws=DRAWS),
]
