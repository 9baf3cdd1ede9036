from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.activations import sparse_codes
from tests.kernels.kernel import Kernel, compiled, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
X, WEIGHT, BIAS = (RNG.normal(size=shape) for shape in ((4, 3), (3, 5), (5,)))
ONES = jnp.ones(4)


def loop(x, weight, bias, k, norms):
  """The k largest of each token, one after the other."""
  codes = np.maximum(x @ weight + bias, 0)
  for row in codes:
    for f in np.argsort(-row * norms, kind="stable")[k:]:
      row[f] = 0
  return codes


@pytest.mark.parametrize("norms", [None, np.array([1.0, 9.0, 0.1, 1.0, 0.1])])
def test_top_k_and_its_gradient_against_loops(norms):
  with jax.enable_x64(True):
    lengths = None if norms is None else jnp.array(norms)
    codes = lambda w: sparse_codes.top_k_codes(jnp.array(X), w, jnp.array(BIAS), ONES, k=2, decoder_norms=lengths)
    square = lambda w: ((codes(w) ** 2).sum(), codes(w))
    gradient, value = quick_jit(jax.grad(square, has_aux=True))(jnp.array(WEIGHT))
  reference = lambda w: loop(X, w, BIAS, 2, 1.0 if norms is None else norms)
  np.testing.assert_allclose(value, reference(WEIGHT), rtol=1e-12)
  np.testing.assert_allclose(gradient, finite_difference(lambda w: (reference(w) ** 2).sum(), WEIGHT), atol=1e-7)


def test_equal_latents_keep_the_first_and_k_of_all_keeps_everything():
  args = jnp.ones((1, 1)), jnp.array([[1.0, 2.0, 2.0, 2.0]]), jnp.zeros(4), jnp.ones(1)
  np.testing.assert_array_equal(compiled(sparse_codes.top_k_codes, k=2)(*args), [[0, 2, 2, 0]])
  np.testing.assert_array_equal(compiled(sparse_codes.top_k_codes, k=4)(*args), sparse_codes.top_k_codes(*args))


def test_jump_relu_has_a_strict_threshold_and_no_negative_codes():
  z, threshold = jnp.array([[-0.5, 0.5, 0.6, 0.6]]), jnp.array([-1.0, 0.5, 0.5, 1.0])
  jump_relu = lambda form: compiled(sparse_codes.jump_relu_codes, form=form)
  codes = lambda form: jump_relu(form)(z, jnp.eye(4), jnp.zeros(4), threshold, jnp.ones(1))
  np.testing.assert_allclose(codes("keep"), [[0, 0, 0.6, 0]])
  np.testing.assert_allclose(codes("subtract"), [[0, 0, 0.1, 0]], rtol=1e-6)


def test_pools_of_a_document_and_of_one_without_tokens():
  codes, mask = jnp.array([[[0.0, 2.0], [4.0, 1.0], [0.0, 9.0]]] * 2), jnp.array([[1, 1, 0], [0, 0, 0]])
  expected = {"max": [4, 2], "sum": [4, 3], "mean": [2, 1.5], "count": [1, 2]}
  for pool, values in expected.items():
    np.testing.assert_array_equal(compiled(sparse_codes.pool_codes, pool=pool)(codes, mask), [values, [0, 0]])


def test_wrong_calls_say_what_to_do():
  with pytest.raises(
    ValueError, match=r"expected x \[N D\], weight \[D F\], bias \[F\], got \(4, 3\), \(2, 5\), \(5,\)"
  ):
    sparse_codes.top_k_codes(jnp.ones((4, 3)), jnp.ones((2, 5)), jnp.ones(5), ONES)
  with pytest.raises(ValueError, match="expected k from 1 to the 5 latents, got 6"):
    sparse_codes.top_k_codes(jnp.ones((4, 3)), jnp.ones((3, 5)), jnp.ones(5), ONES, k=6)


SIZES = {"D": 3, "F": 4}
ENCODER = {"x": "BTD", "weight": "DF", "bias": "F", "mask": "BT"}
GRADIENTS = ("x", "weight", "bias")

KERNELS = [
  Kernel(sparse_codes.top_k_codes, ENCODER, {"k": 2}, gradients=GRADIENTS, sizes=SIZES),
  Kernel(sparse_codes.jump_relu_codes, {**ENCODER, "threshold": "F"}, gradients=GRADIENTS, sizes=SIZES),
  Kernel(
    sparse_codes.decode,
    {"codes": "BF", "weight": "FD", "bias": "D"},
    mask=None,
    gradients=("codes", "weight", "bias"),
    sizes=SIZES,
  ),
  Kernel(sparse_codes.pool_codes, {"codes": "BTF", "mask": "BT"}, gradients=("codes",), sizes=SIZES),
]
