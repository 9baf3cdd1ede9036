from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.layers import iso_flop
from tests.kernels.kernel import Kernel, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4))
FIRST, SECOND, WEIGHTS = RNG.normal(size=(2, 4)), RNG.normal(size=(3, 2)), RNG.normal(size=(2, 3, 4))
FIRST_MASK, SECOND_MASK = RNG.random((2, 4)) < 0.6, RNG.random((3, 2)) < 0.6
MASKS = RNG.random((2, 3, 4)) < 0.5


def layers(weights, first, second):
  return (
    iso_flop.parallel_layer(X, weights, MASKS),
    iso_flop.factorized_layer(X, first, FIRST_MASK, second, SECOND_MASK, activation="tanh"),
    iso_flop.doped_layer(X, weights[0], MASKS[0], first, second),
  )


def reference(weights, first, second):
  return (
    np.maximum(X @ (weights[0] * MASKS[0]).T + X @ (weights[1] * MASKS[1]).T, 0),
    np.tanh(X @ (first * FIRST_MASK).T) @ (second * SECOND_MASK).T,
    X @ (weights[0] * MASKS[0]).T + X @ first.T @ second.T,
  )


def test_layers_and_gradients_against_numpy():
  args = WEIGHTS, FIRST, SECOND
  with jax.enable_x64(True):
    found = quick_jit(layers)(*args)
    total = lambda *a: sum(jnp.sin(y).sum() for y in layers(*a))
    gradients = quick_jit(jax.grad(total, argnums=(0, 1, 2)))(*args)
  for actual, expected in zip(found, reference(*args), strict=True):
    np.testing.assert_allclose(actual, expected, atol=1e-12)
  for i, gradient in enumerate(gradients):
    of = lambda x, i=i: sum(np.sin(y).sum() for y in reference(*args[:i], x, *args[i + 1 :]))
    np.testing.assert_allclose(gradient, finite_difference(of, args[i]), atol=1e-8)


def test_masked_weights_do_not_count_whatever_they_are():
  spoiled = jnp.where(MASKS, WEIGHTS, jnp.nan)
  np.testing.assert_array_equal(
    iso_flop.parallel_layer(X, spoiled, MASKS), iso_flop.parallel_layer(X, jnp.asarray(WEIGHTS), MASKS)
  )
  assert not iso_flop.parallel_layer(X, spoiled, 0 * MASKS).any()


@pytest.mark.parametrize("family", iso_flop.FAMILIES)
def test_multiply_adds_are_those_of_the_dense_layer(family):
  """To the rounding of a size, for linear layers and 3 by 3 convolutions, and more weights the sparser it is."""
  sizes = []
  for sparsity in (0.5, 0.75, 0.9, 0.99):
    for kernel in (1, 9):
      shape = iso_flop.sparse_shape(family, 640, 1280, sparsity, kernel)
      np.testing.assert_allclose(shape.flops, shape.dense_flops, rtol=0.02)
    sizes.append(shape.inner * shape.inputs * shape.outputs)
  assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
  assert iso_flop.sparse_shape("parallel", 8, 8, 0.99).inner == 100  # 1 / (1 - 0.99) is below 100


def rigl(weights, gradients, mask, fraction, sparsity=0.5):
  args = (jnp.asarray(x, jnp.float32) for x in (weights, gradients, mask, fraction))
  return quick_jit(lambda *a: iso_flop.rigl_update(*a, sparsity=sparsity))(*args)


def test_drop_and_grow_of_hand():
  weights, mask = [0.5, 9.0, -0.1, 0.9, 0.0, 0.0, -0.7, 0.0], [1, 0, 1, 1, 0, 0, 1, 0]
  found = rigl(weights, [0.1, -0.8, 0.3, 0.2, 0.05, 0.6, -0.4, 0.01], mask, 0.5)
  # Two of four go, 0.1 and 0.5; 0.8 and 0.6 are the largest gradients, and what they give back starts at 0.
  np.testing.assert_array_equal(found.mask, [0, 1, 0, 1, 0, 1, 1, 0])
  np.testing.assert_allclose(found.weights, [0, 0, 0, 0.9, 0, 0, -0.7, 0])
  back = rigl(weights, [0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0], mask, 0.25)
  np.testing.assert_array_equal(back.mask, mask)  # dropped and grown again, with its value
  np.testing.assert_allclose(back.weights, np.where(mask, weights, 0))


def test_the_density_stays_and_ties_go_to_the_first():
  weights, gradients = RNG.normal(size=(2, 5, 8))
  mask = np.zeros((5, 8))
  mask.ravel()[RNG.permutation(40)[:10]] = 1
  for fraction in (0.0, 0.3, 1.0):
    found = rigl(weights, gradients, mask, fraction, sparsity=0.75)
    assert found.mask.sum() == 10 and (found.mask * (1 - mask)).sum() <= 10 * fraction
  np.testing.assert_array_equal(rigl(weights, gradients, mask, 0.0, sparsity=0.75).mask, mask)
  np.testing.assert_array_equal(rigl(np.ones(4), np.ones(4), [1, 1, 0, 0], 0.5).mask, [1, 1, 0, 0])
  assert not rigl(np.ones(4), np.ones(4), [1, 1, 0, 0], 1.0, sparsity=1.0).mask.any()


def test_no_update_at_either_end():
  drop = iso_flop.rigl_schedule(jnp.array([0, 100, 700, 749, 750, 800]), total_steps=1000)
  np.testing.assert_array_equal(drop.update, [0, 1, 1, 0, 0, 0])
  np.testing.assert_allclose(drop.fraction[jnp.array([0, 4, 5])], [0.3, 0, 0], atol=1e-7)


def test_all_pruned_stays_so():
  weights = jnp.ones(4)
  update = iso_flop.rigl_update(weights, weights, jnp.zeros(4), jnp.array(0.3), sparsity=1.0)
  assert not update.mask.any() and not update.weights.any()
  x, none = jnp.ones((2, 3)), jnp.zeros((5, 3))
  np.testing.assert_array_equal(iso_flop.parallel_layer(x, none[None] + jnp.nan, none[None]), jnp.zeros((2, 5)))


def test_wrong_calls_say_what_to_do():
  with pytest.raises(ValueError, match="unknown family 'tall'; known: wide, parallel"):
    iso_flop.sparse_shape("tall", 8, 8, 0.5)
  with pytest.raises(ValueError, match="expected 0 < sparsity < 1"):
    iso_flop.sparse_shape("wide", 8, 8, 1.0)
  with pytest.raises(ValueError, match="start at 1, got 0 and 100"):
    iso_flop.rigl_schedule(jnp.array(0), total_steps=0)
  with pytest.raises(ValueError, match=r"weights and masks \[J O I\]"):
    iso_flop.parallel_layer(X, WEIGHTS, MASKS[0])
  with pytest.raises(ValueError, match=r"first \[M I\], second \[O M\] and masks like them"):
    iso_flop.factorized_layer(X, FIRST, FIRST_MASK, SECOND.T, SECOND_MASK.T)


SIZES = {"I": 4, "O": 3, "J": 2, "M": 2, "R": 2}
BITS = lambda rng, shape: rng.random(shape) < 0.6
DRAWS = {name: BITS for name in ("masks", "first_mask", "second_mask", "mask")}
DRAWS |= {
  "drop_fraction": lambda rng, shape: np.float32(0.4),
  "weights": lambda rng, shape: rng.normal(size=shape).astype(np.float32),
  "step": lambda rng, shape: rng.integers(0, 1000, shape).astype(np.int32),
}
FACTORS = {"first": "MI", "first_mask": "MI", "second": "OM", "second_mask": "OM"}


def _kernel(function, axes, options=None, **fields):
  return Kernel(function, axes, options or {}, mask=None, draws=DRAWS, sizes=SIZES, **fields)


KERNELS = [
  _kernel(iso_flop.parallel_layer, {"x": "BI", "weights": "JOI", "masks": "JOI"}, gradients=("x", "weights")),
  _kernel(iso_flop.factorized_layer, {"x": "BI"} | FACTORS, gradients=("x", "first", "second")),
  _kernel(
    iso_flop.doped_layer,
    {"x": "BI", "weight": "OI", "mask": "OI", "first": "RI", "second": "OR"},
    gradients=("x", "weight", "second"),
  ),
  _kernel(
    iso_flop.rigl_update,
    {"weights": "OI", "gradients": "OI", "mask": "OI", "drop_fraction": ""},
    {"sparsity": 0.5},
  ),
  _kernel(iso_flop.rigl_schedule, {"step": "B"}, {"total_steps": 1000}),
]
