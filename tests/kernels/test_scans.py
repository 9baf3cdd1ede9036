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
  recurrence,
  reverse_scan,
  running_sums,
  values_after,
)
from tests.kernels.kernel import Kernel, compiled
from tests.kernels.numerics import finite_difference

MASK = np.array([[0, 1, 0, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]])


def recurrence_loop(a, b, mask):
  """y_t = b_t + a_t y_{t+1}, a loop."""
  y = np.zeros(b.shape)
  for i in range(b.shape[0]):
    after = 0.0
    for t in reversed(range(b.shape[1])):
      if mask[i, t]:
        after = y[i, t] = b[i, t] + a[i, t] * after
  return y


def test_a_tool_call_neither_discounts_nor_resets():
  x = np.array([[0.0, 7.0, 7.0, 1.0]], np.float32)
  mask = np.array([[1, 0, 0, 1]])
  np.testing.assert_array_equal(compiled(discounted_sums, discount=0.5)(x, mask), [[0.5, 0, 0, 1]])


def test_recurrence_and_gradient_against_a_loop():
  rng = np.random.default_rng(0)
  a, b, weights = rng.normal(size=(3, 3, 5))
  with jax.enable_x64(True):
    y = compiled(linear_recurrence)(a, b, MASK)
    total = lambda a, b: (weights * linear_recurrence(a, b, MASK)).sum()
    gradients = jax.jit(jax.grad(total, argnums=(0, 1)))(a, b)
  np.testing.assert_allclose(y, recurrence_loop(a, b, MASK), atol=1e-12)
  by_a = finite_difference(lambda a: (weights * recurrence_loop(a, b, MASK)).sum(), a)
  by_b = finite_difference(lambda b: (weights * recurrence_loop(a, b, MASK)).sum(), b)
  np.testing.assert_allclose(gradients[0], by_a, atol=1e-8)
  np.testing.assert_allclose(gradients[1], by_b, atol=1e-8)


@pytest.mark.parametrize("length", [SCANNED + 1, BLOCK * SCANNED, 1203])
def test_long_sequences_are_blocked_and_stay_exact(length):
  rng = np.random.default_rng(1)
  a, b = rng.uniform(0.5, 1, size=(2, 3, length))
  mask = rng.random((3, length)) < 0.7
  with jax.enable_x64(True):
    y = compiled(linear_recurrence)(a, b, mask)
    gradient = jax.jit(jax.grad(lambda b: linear_recurrence(a, b, mask)[:, 0].sum()))(b)
    after = compiled(values_after)(a, b, np.array([1.0, 2.0, 3.0]))
  np.testing.assert_allclose(y, recurrence_loop(a, b, mask), rtol=1e-12, atol=1e-12)
  # d y_0 / d b_t is the product of the unmasked a before t.
  products = np.cumprod(np.where(mask, a, 1), axis=1)
  before = np.concatenate([np.ones((3, 1)), products[:, :-1]], axis=1)
  np.testing.assert_allclose(gradient, before * mask * mask[:, :1], rtol=1e-12, atol=1e-300)
  np.testing.assert_array_equal(after[:, -1], [1.0, 2.0, 3.0])


LENGTHS = [1, SCANNED, SCANNED + 1, BLOCK * SCANNED - 1, BLOCK * SCANNED, BLOCK * SCANNED + 1]
"""Around what a plain scan takes, and around what is left for one after the first blocks."""


def test_blocks_by_hand():
  """Two slots of three are unmasked: whole numbers and halves, exact in any order of sums."""
  length = 3 * BLOCK * SCANNED
  mask, ones = np.arange(length)[None] % 3 > 0, np.ones((1, length), np.float32)
  found = compiled(discounted_sums)(ones, mask)
  every = 2 * length // 3
  np.testing.assert_array_equal(found[0, :6], [0, every, every - 1, 0, every - 2, every - 3])
  np.testing.assert_array_equal(found[0, -6:], [0, 4, 3, 0, 2, 1])
  halved = compiled(discounted_sums, discount=0.5)(ones, mask)
  np.testing.assert_array_equal(halved[0, -6:], [0, 1.875, 1.75, 0, 1.5, 1])
  np.testing.assert_array_equal(halved[0, 1], 2)
  counts = compiled(running_sums)(mask)
  np.testing.assert_array_equal(counts[0, :7], [0, 1, 2, 2, 3, 4, 4])
  assert counts[0, -1] == every


@pytest.mark.parametrize("length", LENGTHS)
def test_float32_is_as_near_as_a_float32_loop(length):
  rng = np.random.default_rng(2)
  a, b = rng.uniform(0.9, 1, size=(2, 3, length)).astype(np.float32)
  mask = rng.random((3, length)) < 0.7
  exact = recurrence_loop(a.astype(float), b.astype(float), mask)
  found = jax.jit(linear_recurrence)(a, b, mask)
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, exact, rtol=1e-6)


@pytest.mark.parametrize("length", LENGTHS)
def test_garbage_on_masked_slots_and_rows_without_any(length):
  """NaN, infinities and 1e30 under the mask change neither a value nor a gradient; a masked row is 0."""
  rng = np.random.default_rng(3)
  a, b = rng.uniform(0.5, 1, size=(2, 3, length)).astype(np.float32)
  mask = rng.random((3, length)) < 0.7
  mask[1] = False
  garbage = np.resize(np.array([np.nan, np.inf, 1e30, -np.inf], np.float32), (3, length))
  spoiled = [np.where(mask, x, garbage) for x in (a, b)]
  both = jax.jit(lambda *x: jax.vjp(lambda a, b: linear_recurrence(a, b, mask), *x)[1](jnp.cos(jnp.ones((3, length)))))
  for clean, dirty in zip(*jax.device_get((both(a, b), both(*spoiled))), strict=True):
    np.testing.assert_array_equal(clean, dirty)
    assert np.isfinite(dirty).all() and not dirty[1].any()
  found = compiled(linear_recurrence)(*spoiled, mask)
  np.testing.assert_array_equal(found, compiled(linear_recurrence)(a, b, mask))
  assert not found[1].any() and not found[~mask].any()


def test_large_values_stay_finite():
  length = BLOCK * SCANNED + 1
  x, ones = np.full((1, length), 1e30, np.float32), np.ones((1, length), np.float32)
  found = compiled(discounted_sums, discount=0.5)(x, ones)
  np.testing.assert_allclose(found[0, :-30], 2e30, rtol=1e-6)
  nothing = compiled(linear_recurrence)(np.zeros_like(x), x, ones)
  np.testing.assert_array_equal(nothing, x)


@pytest.mark.parametrize("length", [1, SCANNED + 1, BLOCK * SCANNED + 1])
def test_gradient_of_blocks_against_a_float64_loop(length):
  rng = np.random.default_rng(4)
  a, b = rng.uniform(0.9, 1, size=(2, 2, length))
  weights, mask = rng.normal(size=(2, length)), rng.random((2, length)) < 0.7
  with jax.enable_x64(True):
    by_a, by_b = jax.jit(jax.grad(lambda a, b: (weights * linear_recurrence(a, b, mask)).sum(), argnums=(0, 1)))(a, b)
  y, by_a, by_b = recurrence_loop(a, b, mask), np.asarray(by_a), np.asarray(by_b)
  for i in range(2):
    # The adjoint goes forward: g_t = w_t + a_{t-1} g_{t-1}; db_t = g_t and da_t = g_t y_{t+1}, t over the unmasked.
    slots, adjoint = np.flatnonzero(mask[i]), 0.0
    for k, t in enumerate(slots):
      adjoint = weights[i, t] + (a[i, slots[k - 1]] * adjoint if k else 0)
      after = y[i, slots[k + 1]] if k + 1 < len(slots) else 0
      np.testing.assert_allclose([by_b[i, t], by_a[i, t]], [adjoint, adjoint * after], rtol=1e-10, atol=1e-10)
  assert not by_a[~mask].any() and not by_b[~mask].any()


@pytest.mark.parametrize("length", LENGTHS)
def test_running_sums_are_cumulative_sums(length):
  rng = np.random.default_rng(5)
  x, mask = rng.normal(size=(2, length)), rng.random((2, length)) < 0.5
  np.testing.assert_allclose(compiled(running_sums)(np.float32(x)), np.cumsum(x, axis=1), atol=1e-4)
  counts = compiled(running_sums)(mask)
  assert counts.dtype == jnp.int32
  np.testing.assert_array_equal(counts, np.cumsum(mask, axis=1))
  np.testing.assert_array_equal(compiled(running_sums)(np.zeros((0, length), np.float32)), np.zeros((0, length)))


def test_manual_axes():
  """A `shard_map` that checks what varies accepts value and gradient."""
  x, mask = np.cos(np.arange(2 * 100, dtype=np.float32)).reshape(2, 100), np.ones((2, 100), bool)
  mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",))
  rows = jax.sharding.PartitionSpec("data")
  sums = lambda x, mask: discounted_sums(x, mask, discount=0.9)
  both = lambda x, mask: (sums(x, mask), jax.grad(lambda x: (sums(x, mask) ** 2).sum())(x))
  mapped = jax.shard_map(both, mesh=mesh, in_specs=rows, out_specs=rows)
  for found, expected in zip(jax.jit(mapped)(x, mask), jax.jit(both)(x, mask), strict=True):
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other compilers weigh what they compute again")
def test_each_pass_over_the_blocks_is_compiled_by_itself():
  """Fused into one another, or into what makes their arguments, the passes are 10 times as slow."""
  sums = lambda x: jnp.tanh(discounted_sums(x * 2, x > 0, discount=0.9))
  text = jax.jit(sums).lower(np.ones((2, BLOCK * SCANNED), np.float32)).compile().as_text()
  assert len([line for line in text.splitlines() if " call(" in line and 'inlineable="false"' in line]) == 2


def test_no_reward_is_lost_when_moved():
  rewards = np.array([[1, 2, 4, 8, np.nan], [1, 2, 4, 8, 16], [1, 1, 1, 1, 1]], np.float32)
  attention = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
  moved = compiled(move_to_trainable)(rewards, MASK, attention)
  np.testing.assert_array_equal(moved, [[0, 7, 0, 8, 0], [1, 2, 28, 0, 0], [0, 0, 0, 0, 0]])


def _whole_scan(x):
  return reverse_scan(lambda c, x_t: (c + x_t, c * x_t), jnp.zeros(x.shape[0], x.dtype), x)


def _halved(b, last):
  return recurrence(lambda b: (0.5, b), lambda after, b: b - after, last, b)


KERNELS = [
  Kernel(_halved, {"b": "BT", "last": "B"}, mask=None, gradients=("b", "last"), public=recurrence),
  Kernel(running_sums, {"x": "BT"}, mask=None, gradients=("x",)),
  Kernel(_whole_scan, {"x": "BT"}, mask=None, gradients=("x",), public=reverse_scan),
  Kernel(values_after, {"a": "BT", "b": "BT", "last": "B"}, mask=None, gradients=("a", "b", "last")),
  Kernel(linear_recurrence, {"a": "BT", "b": "BT", "mask": "BT"}, gradients=("a", "b")),
  Kernel(discounted_sums, {"x": "BT", "mask": "BT"}, {"discount": 0.9}, gradients=("x",)),
  Kernel(discounted_sums, {"x": "BT", "mask": "BT"}, {"discount": 0.9}, gradients=("x",)),
  Kernel(
    move_to_trainable,
    {"rewards": "BT", "mask": "BT", "attention_mask": "BT"},
    mask="attention_mask",
    gradients=("rewards",),
    zero_masked=False,
  ),
]
