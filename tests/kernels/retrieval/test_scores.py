from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.retrieval import scores
from tests.kernels.kernel import Kernel, compiled, quick_jit

RNG = np.random.default_rng(0)


def test_cosines_are_bounded_and_know_no_lengths():
  queries, documents = (RNG.normal(size=(3, 4)).astype(np.float32) for _ in range(2))
  cosine = compiled(scores.similarity, cosine=True)
  cosines = cosine(queries, documents)
  lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(documents, axis=1)
  np.testing.assert_allclose(cosines, queries @ documents.T / lengths, rtol=1e-5)
  np.testing.assert_allclose(cosine(7 * queries, documents), cosines, rtol=1e-5)
  total = quick_jit(jax.value_and_grad(lambda q: scores.similarity(q, jnp.array(documents), cosine=True).sum()))
  value, gradient = total(0 * queries)
  assert value == 0 and not gradient.any()


def test_own_documents_are_a_diagonal_of_shared_ones():
  queries, documents = RNG.normal(size=(2, 3, 4)).astype(np.float32)
  own = compiled(scores.similarity)(queries, documents[:, None])[:, 0]
  np.testing.assert_allclose(own, np.diagonal(compiled(scores.similarity)(queries, documents)), rtol=1e-5)
  with pytest.raises(ValueError, match=r"expected queries \[B D\], documents \[B C D\], got \(3, 4\), \(2, 5, 4\)"):
    scores.similarity(queries, jnp.ones((2, 5, 4)))


def test_late_interaction_against_loops():
  queries, documents = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(3, 5, 4))
  query_mask, document_mask = np.array([[1, 1, 0], [1, 1, 1]]), np.array([[1, 0, 1, 0, 1], [0] * 5, [1] * 5])
  found = compiled(scores.max_similarity)(queries, documents, query_mask, document_mask)
  for b in range(2):
    for c in range(3):
      tokens = documents[c][document_mask[c] == 1]
      expected = sum(max((q @ d for d in tokens), default=0) for q in queries[b][query_mask[b] == 1])
      np.testing.assert_allclose(found[b, c], expected, rtol=1e-5, atol=1e-6)


SIZES = {"D": 3, "C": 4, "J": 2}

KERNELS = [
  Kernel(
    scores.similarity,
    {"queries": "BD", "documents": "CD"},
    {"cosine": True},
    mask=None,
    gradients=("queries", "documents"),
    sizes=SIZES,
  ),
  Kernel(
    scores.max_similarity,
    {"query_tokens": "BSD", "document_tokens": "CJD", "query_mask": "BS", "document_mask": "CJ"},
    mask="query_mask",
    covers={"document_tokens": "document_mask"},
    gradients=("query_tokens", "document_tokens"),
    zero_masked=False,
    sizes=SIZES,
  ),
]
