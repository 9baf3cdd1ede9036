from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.retrieval import hashing
from tests.kernels.kernel import Kernel, compiled, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
QUERIES, DOCUMENTS = (RNG.normal(size=(n, 11)).astype(np.float32) for n in (3, 9))


def test_the_relaxed_code_and_its_gradient_against_numpy():
  reference = lambda v: np.tanh(np.sqrt(1 + 0.1 * 30) * v).sum()
  with jax.enable_x64(True):
    total = quick_jit(jax.value_and_grad(lambda v: hashing.hash_codes(v, step=30).sum()))
    value, gradient = total(QUERIES.astype(np.float64))
  np.testing.assert_allclose(value, reference(QUERIES.astype(np.float64)), rtol=1e-12)
  np.testing.assert_allclose(gradient, finite_difference(reference, QUERIES.astype(np.float64)), atol=1e-7)


def test_the_relaxed_code_goes_to_the_sign():
  """Closer and closer; at step 0 it is tanh."""
  codes = np.where(QUERIES >= 0, 1, -1)
  np.testing.assert_array_equal(compiled(hashing.hash_codes)(QUERIES), codes)
  relaxed = quick_jit(lambda step: hashing.hash_codes(jnp.array(QUERIES), step=step))
  distances = [abs(np.asarray(relaxed(step)) - codes).max() for step in (0, 100, 10**4, 10**7)]
  assert distances == sorted(distances, reverse=True) and distances[-1] < 1e-3
  np.testing.assert_allclose(relaxed(0), np.tanh(QUERIES), rtol=1e-5)


@pytest.mark.parametrize("num_candidates", [4, 9])
def test_search_against_loops(num_candidates):
  """With all documents as candidates, an exact search on the codes."""
  packed = hashing.pack_codes(jnp.array(DOCUMENTS))
  assert packed.shape == (9, 2) and packed.dtype == jnp.uint8
  found = compiled(hashing.bpr_search, k=3, num_candidates=num_candidates)(QUERIES, packed)
  codes = np.where(DOCUMENTS >= 0, 1, -1)
  for b, q in enumerate(QUERIES):
    distances = [(np.where(q >= 0, 1, -1) != code).sum() for code in codes]
    near = np.argsort(distances, kind="stable")[:num_candidates]
    ids = sorted(near, key=lambda c: (-(q @ codes[c]), c))[:3]
    assert found.ids[b].tolist() == ids
    np.testing.assert_allclose(found.scores[b], [q @ codes[c] for c in ids], rtol=1e-5)


def test_packed_codes_of_another_width():
  with pytest.raises(ValueError, match=r"expected packed \[C 2\] for queries \[B 11\], got \(9, 1\)"):
    hashing.bpr_search(jnp.array(QUERIES), jnp.zeros((9, 1), jnp.uint8), k=3)


def _packed(vectors):
  return hashing.pack_codes(vectors).astype(jnp.int32)


def _search(queries, documents):
  return hashing.bpr_search(queries, hashing.pack_codes(documents), k=2, num_candidates=3)


SIZES = {"D": 11, "C": 5, "N": 3}

KERNELS = [
  Kernel(
    hashing.hash_codes,
    {"vectors": "ND", "step": ""},
    mask=None,
    gradients=("vectors",),
    sizes=SIZES,
    draws={"step": lambda rng, shape: np.int32(30)},
  ),
  Kernel(_packed, {"vectors": "ND"}, mask=None, sizes=SIZES, public=hashing.pack_codes),
  Kernel(_search, {"queries": "ND", "documents": "CD"}, mask=None, sizes=SIZES, public=hashing.bpr_search),
]
