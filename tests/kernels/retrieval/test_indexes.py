from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.retrieval import indexes
from tests.kernels.kernel import Kernel, compiled, quick_jit

RNG = np.random.default_rng(0)
QUERIES, DOCUMENTS = (RNG.normal(size=(n, 4)).astype(np.float32) for n in (3, 8))
CENTROIDS, CODEBOOKS = (RNG.normal(size=shape).astype(np.float32) for shape in ((3, 4), (2, 5, 2)))


def test_the_order_of_equal_scores_and_of_fewer_documents_than_asked_for():
  scores = np.array([[1.0, 2.0, 2.0, -np.inf], [np.nan] * 4])
  found = compiled(indexes.top_documents, k=9)(scores, np.array([[1] * 4, [0] * 4]))
  assert found.ids.tolist() == [[1, 2, 0, 3], [0] * 4]
  assert found.mask.tolist() == [[True] * 4, [False] * 4] and found.scores[0, :3].tolist() == [2, 2, 1]
  with pytest.raises(ValueError, match="a number of the largest is at least 0, got -1"):
    indexes.top_documents(scores, np.ones((2, 4)), k=-1)


def test_an_inverted_index_against_loops_and_with_all_lists_it_is_exact():
  lists = compiled(indexes.nearest_centroids)(DOCUMENTS, CENTROIDS)
  distances = np.square(DOCUMENTS[:, None] - CENTROIDS).sum(axis=2)
  np.testing.assert_array_equal(lists, distances.argmin(axis=1))
  probed = lambda n: compiled(indexes.inverted_candidates, probes=n)(QUERIES, CENTROIDS, lists)
  closest = np.argsort(-QUERIES @ CENTROIDS.T, axis=1)[:, :2]
  np.testing.assert_array_equal(probed(2), [[lists[c] in closest[b] for c in range(8)] for b in range(3)])
  assert probed(3).all() and (probed(1) <= probed(2)).all()


def test_product_scores_are_inner_products_with_what_the_codes_stand_for():
  """Also in their gradients; a vector that is an entry of each codebook is scored exactly."""
  codes = compiled(indexes.product_codes)(DOCUMENTS, CODEBOOKS)
  expected = [
    [np.square(part - book).sum(axis=1).argmin() for part, book in zip(x.reshape(2, 2), CODEBOOKS, strict=True)]
    for x in DOCUMENTS
  ]
  np.testing.assert_array_equal(codes, expected)

  def direct(queries, codebooks):
    return queries @ jnp.concatenate([codebooks[m][codes[:, m]] for m in range(2)], axis=1).T

  by_tables = lambda q, books: indexes.product_scores(q, books, jnp.array(codes))

  @quick_jit
  def both(*args):
    grads = [jax.grad(lambda *a, f=f: jnp.sin(f(*a)).sum(), argnums=(0, 1))(*args) for f in (by_tables, direct)]
    return [(f(*args), *grad) for f, grad in zip((by_tables, direct), grads, strict=True)]

  for actual, wanted in zip(*both(QUERIES, CODEBOOKS), strict=True):
    np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-5)


def test_relevant_documents_that_were_not_found_come_last():
  ranked, ranked_mask = RNG.permuted(np.tile(np.arange(6), (9, 1)), axis=1)[:, :4], RNG.random((9, 4)) < 0.8
  relevant, relevant_mask = RNG.permuted(np.tile(np.arange(6), (9, 1)), axis=1)[:, :2], RNG.random((9, 2)) < 0.8
  found = compiled(indexes.append_relevant)(ranked, ranked_mask, relevant, relevant_mask)
  for b in range(9):
    first, wanted = ranked[b][ranked_mask[b]].tolist(), relevant[b][relevant_mask[b]].tolist()
    expected = first + [i for i in wanted if i not in first]
    mask = found.mask[b]
    assert found.ids[b][mask].tolist() == expected and not found.ids[b][~mask].any()
    assert found.relevant[b][mask].tolist() == [i in wanted for i in expected]


def test_equally_near_centroids_and_wrong_sizes():
  assert indexes.nearest_centroids(jnp.zeros((1, 2)), jnp.array([[1.0, 0.0], [0.0, 1.0]])).tolist() == [0]
  with pytest.raises(
    ValueError, match=r"expected vectors \[N M\*E\] and codebooks \[M K E\], got \(1, 5\) and \(2, 3, 2\)"
  ):
    indexes.product_codes(jnp.ones((1, 5)), jnp.ones((2, 3, 2)))


def _choices(count):
  return lambda rng, shape: rng.integers(0, count, shape).astype(np.int32)


DRAWS = {"lists": _choices(3), "codes": _choices(3), "ranked": _choices(9), "relevant": _choices(9)}
SIZES = {"D": 4, "C": 5, "L": 3, "M": 2, "K": 3, "E": 2, "N": 5}

KERNELS = [
  Kernel(indexes.top_documents, {"scores": "BC", "mask": "BC"}, {"k": 3}, sizes=SIZES),
  Kernel(
    indexes.append_relevant,
    {"ranked": "NK", "ranked_mask": "NK", "relevant": "NM", "relevant_mask": "NM"},
    mask=None,  # ids, without values that could be garbage
    draws=DRAWS,
    sizes=SIZES,
  ),
  Kernel(indexes.nearest_centroids, {"vectors": "ND", "centroids": "LD"}, mask=None, sizes=SIZES),
  Kernel(
    indexes.inverted_candidates,
    {"queries": "ND", "centroids": "LD", "lists": "C"},
    {"probes": 2},
    mask=None,
    draws=DRAWS,
    sizes=SIZES,
  ),
  Kernel(indexes.product_codes, {"vectors": "ND", "codebooks": "MKE"}, mask=None, sizes=SIZES),
  Kernel(
    indexes.product_scores,
    {"queries": "ND", "codebooks": "MKE", "codes": "CM"},
    mask=None,
    gradients=("queries", "codebooks"),
    draws=DRAWS,
    sizes=SIZES,
  ),
]
