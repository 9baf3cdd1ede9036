from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.layers.block_diagonal import monarch, monarch_dense, monarch_projection, monarch_shapes
from tests.kernels.kernel import Kernel, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
X, FIRST, SECOND = (RNG.normal(size=shape) for shape in ((2, 6), (3, 2, 2), (2, 4, 3)))


def loops(x, first, second):
  (k, q, p), (m, s, r) = first.shape, second.shape
  middle = [first[a, b] @ x[a * p : (a + 1) * p] for a in range(k) for b in range(q)]
  y = np.zeros(m * s)
  for a, b in np.ndindex(m, s):
    y[b * m + a] = sum(second[a, b, c] * middle[c * m + a] for c in range(r))
  return y


def test_value_and_gradients_against_loops():
  weights = RNG.normal(size=(2, 8))
  reference = lambda x, *factors: sum(w @ loops(row, *factors) for w, row in zip(weights, x, strict=True))
  with jax.enable_x64(True):
    total = lambda *args: (weights * monarch(*args)).sum()
    value, gradients = quick_jit(jax.value_and_grad(total, argnums=(0, 1, 2)))(X, FIRST, SECOND)
  args = X, FIRST, SECOND
  np.testing.assert_allclose(value, reference(*args), rtol=1e-12)
  for i, gradient in enumerate(gradients):
    expected = finite_difference(lambda a, i=i: reference(*args[:i], a, *args[i + 1 :]), args[i])
    np.testing.assert_allclose(gradient, expected, atol=1e-8)


def test_the_dense_matrix_is_the_layer():
  np.testing.assert_allclose(
    X @ monarch_dense(jnp.asarray(FIRST), jnp.asarray(SECOND)).T, monarch(X, FIRST, SECOND), rtol=1e-4, atol=1e-5
  )


def test_permutation_between_block_diagonal_factors():
  """M = P L P^T R of the square case, P the transposition of an m by m grid."""
  m = 3
  left, right = RNG.normal(size=(2, m, m, m))
  transposition = np.eye(m * m)[np.arange(m * m).reshape(m, m).T.ravel()]
  blocks = lambda w: np.asarray(jax.scipy.linalg.block_diag(*w))
  expected = transposition @ blocks(left) @ transposition.T @ blocks(right)
  np.testing.assert_allclose(monarch_dense(jnp.asarray(right), jnp.asarray(left)), expected, atol=1e-5)


def test_projection_is_nearest_and_leaves_monarch_matrices():
  matrix = RNG.normal(size=(6, 6))
  with jax.enable_x64(True):
    factors = monarch_projection(matrix)
    error = lambda factors: np.square(np.asarray(monarch_dense(*factors)) - matrix).sum()
    again = monarch_dense(*monarch_projection(monarch_dense(*factors)))
    np.testing.assert_allclose(again, monarch_dense(*factors), atol=1e-12)
    grid = matrix.reshape(3, 2, 3, 2).transpose(1, 2, 0, 3)
    discarded = np.linalg.svd(grid, compute_uv=False)[..., 1:]
    np.testing.assert_allclose(error(factors), np.square(discarded).sum(), rtol=1e-12)
    for _ in range(5):
      near = [f + 1e-2 * RNG.normal(size=f.shape) for f in factors]
      assert error(near) > error(factors)


def test_fourier_and_convolution():
  """A Fourier matrix with permuted columns is Monarch, so that a convolution is M* diag M on permuted entries."""
  n, x, kernel = 16, RNG.normal(size=16), RNG.normal(size=16)
  order = np.arange(n).reshape(4, 4).T.ravel()
  with jax.enable_x64(True):
    matrix = np.fft.fft(np.eye(n), norm="ortho")[:, order]
    factors = quick_jit(monarch_projection)(matrix)
    dense = np.asarray(monarch_dense(*factors))
  np.testing.assert_allclose(dense, matrix, atol=1e-12)
  convolved = dense.conj().T @ (np.fft.fft(kernel) * (dense @ x[order]))
  expected = [sum(x[j] * kernel[i - j] for j in range(n)) for i in range(n)]
  np.testing.assert_allclose(convolved, np.array(expected)[order], atol=1e-10)


def test_a_rectangular_matrix_and_other_widths():
  matrix = RNG.normal(size=(8, 6))
  first, second = monarch_projection(matrix, blocks=(3, 2))
  assert (first.shape, second.shape) == ((3, 2, 2), (2, 4, 3))
  narrow = monarch(X[:, :5], first, second, width=7)
  wide = monarch(jnp.asarray(X).at[:, 5].set(0), first, second)
  np.testing.assert_allclose(narrow, wide[:, :7], rtol=1e-6)


def test_shapes_fit_and_shrink():
  for inputs, outputs in ((64, 256), (256, 64), (10, 7), (7, 10), (1, 1)):
    shapes = monarch_shapes(inputs, outputs)
    y = jax.eval_shape(
      lambda x, *factors, o=outputs: monarch(x, *factors, width=o),
      *(jax.ShapeDtypeStruct(s, jnp.float32) for s in ((inputs,), *shapes)),
    )
    assert y.shape == (outputs,)
  assert monarch_shapes(256, 256).parameters == 2 * 256 * 64 and monarch_shapes(256, 64).bounds == (64**-0.5, 0.25)


def test_wrong_sizes_say_what_to_do():
  with pytest.raises(ValueError, match=r"with k q = m r, got \(3, 2, 2\), \(2, 4, 2\)"):
    monarch(X, FIRST, SECOND[..., :2])
  with pytest.raises(ValueError, match="6 inputs and 8 outputs are too few for 9 and width None"):
    monarch(jnp.ones(9), FIRST, SECOND)
  with pytest.raises(ValueError, match=r"with k q = m r, got \(3, 2\), \(2, 4, 3\)"):
    monarch(X, FIRST[..., 0], SECOND)
  with pytest.raises(ValueError, match=r"a matrix \[O I\] with entries, got \(4,\)"):
    monarch_projection(jnp.ones(4))
  with pytest.raises(ValueError, match=r"blocks that divide inputs and outputs, got \(0, 2\)"):
    monarch_projection(jnp.ones((8, 6)), blocks=(0, 2))
  with pytest.raises(ValueError, match="needs blocks"):
    monarch_projection(jnp.ones((8, 6)))
  with pytest.raises(ValueError, match="sizes start at 1"):
    monarch_shapes(4, 4, blocks=0)


SIZES = {"I": 6, "k": 3, "q": 2, "p": 2, "m": 2, "s": 4, "r": 3, "n": 6}
FACTORS = {"first": "kqp", "second": "msr"}


def _projected(matrix):
  return monarch_dense(*monarch_projection(matrix))  # the factors' signs are arbitrary


KERNELS = [
  Kernel(monarch, {"x": "BI"} | FACTORS, {"width": 7}, mask=None, gradients=("x", *FACTORS), sizes=SIZES),
  Kernel(monarch_dense, FACTORS, mask=None, sizes=SIZES),
  Kernel(_projected, {"matrix": "nn"}, mask=None, public=monarch_projection, sizes=SIZES),
]
