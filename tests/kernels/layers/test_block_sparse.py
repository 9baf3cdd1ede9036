from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.layers.block_sparse import BlockCSR, block_csr, block_mask, block_sparse_matmul, pruning_sparsity
from tests.kernels.kernel import Kernel, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
WEIGHT, X, BIAS = RNG.normal(size=(8, 6)), RNG.normal(size=(6, 3)), RNG.normal(size=8)


@pytest.mark.parametrize("block, sparsity", [(1, 0.9), (2, 0.5), (4, 0.75), (4, 0.0), (2, 1.0)])
def test_the_product_is_that_of_the_masked_matrix(block, sparsity):
  options = {"block": block, "sparsity": sparsity}

  @quick_jit
  def both(weight):
    return block_mask(weight, **options), block_sparse_matmul(
      block_csr(weight, **options), jnp.asarray(X), jnp.asarray(BIAS)
    )

  with jax.enable_x64(True):
    mask, y = (np.asarray(a) for a in both(WEIGHT))
  np.testing.assert_allclose(y, (WEIGHT * mask) @ X + BIAS[:, None], atol=1e-12)
  # Blocks as a whole, the right number of them, and none that is pruned has a larger score than one that is kept.
  blocks = mask.reshape(-1, block, 6)
  assert (blocks == blocks[:, :1]).all()
  assert blocks[:, 0].sum() == blocks[:, 0].size - round(sparsity * blocks[:, 0].size)
  scores = np.abs(WEIGHT).reshape(-1, block, 6).mean(axis=1)
  kept = blocks[:, 0]
  if 0 < kept.sum() < kept.size:
    assert scores[kept].min() > scores[~kept].max()


def test_gradients_through_the_stored_blocks_against_loops():
  def reference(weight, x):
    mask = np.asarray(block_mask(jnp.asarray(WEIGHT), sparsity=0.5, block=2))  # it does not move with the weights
    return np.square(np.maximum((weight * mask) @ x + BIAS[:, None], 0)).sum()

  def loss(weight, x):
    stored = block_csr(weight, sparsity=0.5, block=2)
    return jnp.square(block_sparse_matmul(stored, x, jnp.asarray(BIAS), relu=True)).sum()

  with jax.enable_x64(True):
    by_weight, by_x = quick_jit(jax.grad(loss, argnums=(0, 1)))(WEIGHT, X)
  np.testing.assert_allclose(by_weight, finite_difference(lambda w: reference(w, X), WEIGHT), atol=1e-6)
  np.testing.assert_allclose(by_x, finite_difference(lambda x: reference(WEIGHT, x), X), atol=1e-6)


def test_storage_is_compressed_rows():
  stored = block_csr(
    jnp.array([[1.0, 5.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 7.0], [0.0, 0.0, 8.0]]), sparsity=0.5, block=2
  )
  np.testing.assert_array_equal(stored.values, [[1, 2], [5, 0], [7, 8]])
  np.testing.assert_array_equal(stored.columns, [0, 1, 2])
  np.testing.assert_array_equal(stored.starts, [0, 2, 3])


def test_ties_and_the_sizes_of_weights_do_not_matter():
  np.testing.assert_array_equal(block_mask(jnp.ones((2, 2)), sparsity=0.5), [[0, 0], [1, 1]])  # the first go
  masks = [block_mask(jnp.asarray(scale * WEIGHT), sparsity=0.5) for scale in (1.0, -8.0)]
  np.testing.assert_array_equal(*masks)


def test_the_schedule_is_cubic_and_steps():
  steps = jnp.arange(0, 1200)
  found = np.asarray(pruning_sparsity(steps, begin=100, end=900, final=0.9, frequency=100))
  assert (np.diff(found) >= 0).all() and found[199] == 0 and len(np.unique(found)) == 9
  np.testing.assert_allclose(found[[200, 550, 900]], [0.9 * (1 - (7 / 8) ** 3), 0.9 * (1 - 0.5**3), 0.9], rtol=1e-5)


def test_wrong_calls_say_what_to_do():
  with pytest.raises(ValueError, match="expected begin < end, frequency >= 1, got 5, 5 and 100"):
    pruning_sparsity(jnp.arange(3), begin=5, end=5, final=0.9)
  with pytest.raises(ValueError, match=r"a block that divides O and 0 <= sparsity <= 1, got \(8, 6\), 3 and 0.5"):
    block_mask(jnp.asarray(WEIGHT), sparsity=0.5, block=3)
  with pytest.raises(ValueError, match=r"expected x \[I P\] and bias \[8\], got \(6, 3\) and \(4,\)"):
    block_sparse_matmul(block_csr(jnp.asarray(WEIGHT), sparsity=0.5), jnp.asarray(X), jnp.ones(4))


SIZES = {"O": 4, "I": 3, "P": 2, "N": 3, "C": 2, "R": 3}
DRAWS = {"steps": lambda rng, shape: rng.integers(0, 1000, shape).astype(np.int32)}
OPTIONS = {"sparsity": 0.5, "block": 2}


def _matmul(values, x, bias):
  matrix = BlockCSR(values, jnp.array([0, 2, 1], jnp.int32), jnp.array([0, 2, 3], jnp.int32))
  return block_sparse_matmul(matrix, x, bias)


def _sparsity(steps):
  return pruning_sparsity(steps, begin=100, end=900, final=0.9)


KERNELS = [
  Kernel(block_mask, {"weight": "OI"}, OPTIONS, mask=None, sizes=SIZES),
  Kernel(block_csr, {"weight": "OI"}, OPTIONS, mask=None, gradients=("weight",), sizes=SIZES),
  Kernel(
    _matmul,
    {"values": "NC", "x": "IP", "bias": "O"},
    mask=None,
    gradients=("values", "x", "bias"),
    public=block_sparse_matmul,
    sizes=SIZES,
  ),
  Kernel(_sparsity, {"steps": "B"}, mask=None, public=pruning_sparsity, draws=DRAWS),
]
