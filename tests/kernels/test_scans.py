from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.scans import (
  BLOCK,
  SCANNED,
  discounted_sums,
  linear_recurrence,
  move_to_trainable,
  reverse_scan,
  values_after,
)
from tests.kernels.kernel import Kernel
from tests.kernels.numerics import finite_difference

MASK = np.array([[0, 1, 0, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]])


def recurrence(a, b, mask, gaps):
  """y_t = b_t + a_t y_{t+1}, a loop."""
  y = np.zeros(b.shape)
  for i in range(b.shape[0]):
    after = 0.0
    for t in reversed(range(b.shape[1])):
      if mask[i, t]:
        after = y[i, t] = b[i, t] + a[i, t] * after
      elif gaps == "reset":
        after = 0.0
  return y


def test_a_tool_call_neither_discounts_nor_resets():
  x = jnp.array([[0.0, 7.0, 7.0, 1.0]])
  mask = jnp.array([[1, 0, 0, 1]])
  np.testing.assert_array_equal(discounted_sums(x, mask, discount=0.5), [[0.5, 0, 0, 1]])
  np.testing.assert_array_equal(discounted_sums(x, mask, discount=0.5, gaps="reset"), [[0, 0, 0, 1]])


@pytest.mark.parametrize("gaps", ["carry", "reset"])
def test_recurrence_and_gradient_against_a_loop(gaps):
  rng = np.random.default_rng(0)
  a, b, weights = rng.normal(size=(3, 3, 5))
  with jax.enable_x64(True):
    y = linear_recurrence(jnp.array(a), jnp.array(b), jnp.array(MASK), gaps=gaps)
    gradients = jax.grad(
      lambda a, b: (weights * linear_recurrence(a, b, jnp.array(MASK), gaps=gaps)).sum(), argnums=(0, 1)
    )(jnp.array(a), jnp.array(b))
  np.testing.assert_allclose(y, recurrence(a, b, MASK, gaps), atol=1e-12)
  by_a = finite_difference(lambda a: (weights * recurrence(a, b, MASK, gaps)).sum(), a)
  by_b = finite_difference(lambda b: (weights * recurrence(a, b, MASK, gaps)).sum(), b)
  np.testing.assert_allclose(gradients[0], by_a, atol=1e-8)
  np.testing.assert_allclose(gradients[1], by_b, atol=1e-8)


@pytest.mark.parametrize("length", [SCANNED + 1, BLOCK * SCANNED, 1203])
def test_long_sequences_are_blocked_and_stay_exact(length):
  rng = np.random.default_rng(1)
  a, b = rng.uniform(0.5, 1, size=(2, 3, length))
  mask = rng.random((3, length)) < 0.7
  with jax.enable_x64(True):
    y = linear_recurrence(jnp.array(a), jnp.array(b), jnp.array(mask))
    gradient = jax.grad(lambda b: linear_recurrence(jnp.array(a), b, jnp.array(mask))[:, 0].sum())(jnp.array(b))
    after = values_after(jnp.array(a), jnp.array(b), jnp.array([1.0, 2.0, 3.0]))
  np.testing.assert_allclose(y, recurrence(a, b, mask, "carry"), rtol=1e-12, atol=1e-12)
  # d y_0 / d b_t is the product of the unmasked a before t.
  products = np.cumprod(np.where(mask, a, 1), axis=1)
  before = np.concatenate([np.ones((3, 1)), products[:, :-1]], axis=1)
  np.testing.assert_allclose(gradient, before * mask * mask[:, :1], rtol=1e-12, atol=1e-300)
  np.testing.assert_array_equal(after[:, -1], [1.0, 2.0, 3.0])


def test_no_reward_is_lost_when_moved():
  rewards = jnp.array([[1.0, 2.0, 4.0, 8.0, jnp.nan], [1.0, 2.0, 4.0, 8.0, 16.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
  attention = jnp.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
  moved = move_to_trainable(rewards, jnp.array(MASK), attention)
  np.testing.assert_array_equal(moved, [[0, 7, 0, 8, 0], [1, 2, 28, 0, 0], [0, 0, 0, 0, 0]])


def _whole_scan(x):
  return reverse_scan(lambda c, x_t: (c + x_t, c * x_t), jnp.zeros(x.shape[0], x.dtype), x)


KERNELS = [
  Kernel(_whole_scan, {"x": "BT"}, mask=None, gradients=("x",), public=reverse_scan),
  Kernel(values_after, {"a": "BT", "b": "BT", "last": "B"}, mask=None, gradients=("a", "b", "last")),
  Kernel(linear_recurrence, {"a": "BT", "b": "BT", "mask": "BT"}, gradients=("a", "b")),
  Kernel(discounted_sums, {"x": "BT", "mask": "BT"}, {"discount": 0.9}, gradients=("x",)),
  Kernel(discounted_sums, {"x": "BT", "mask": "BT"}, {"discount": 0.9, "gaps": "reset"}, gradients=("x",)),
  Kernel(
    move_to_trainable,
    {"rewards": "BT", "mask": "BT", "attention_mask": "BT"},
    mask="attention_mask",
    gradients=("rewards",),
    zero_masked=False,
  ),
]
