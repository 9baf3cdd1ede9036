from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.retrieval import metrics
from tests.kernels.kernel import Kernel, compiled


def loop(gains, relevant_gains, k):
  """Definitions, place by place."""
  gains, relevant = list(gains)[:k], [g for g in relevant_gains if g > 0]
  hits, precision_at_hits, first, dcg = 0, 0.0, 0.0, 0.0
  for rank, gain in enumerate(gains, 1):
    if gain > 0:
      hits += 1
      precision_at_hits += hits / rank
      first = first or 1 / rank
      dcg += gain / np.log2(rank + 1)
  best = sum(g / np.log2(rank + 1) for rank, g in enumerate(sorted(relevant, reverse=True)[:k], 1))
  count = len(relevant)
  return [
    hits / k,
    hits / count if count else 0,
    first,
    precision_at_hits / count if count else 0,
    dcg / best if best else 0,
  ]


def test_metrics_against_loops():
  rng = np.random.default_rng(0)
  relevance = rng.integers(0, 3, (20, 7)) * (rng.random((20, 1)) < 0.8)
  gains = np.stack([row[rng.permutation(7)[:5]] for row in relevance])
  lengths = rng.integers(0, 6, 20)
  mask = np.arange(5) < lengths[:, None]
  for k in (2, 5):
    found = compiled(metrics.ranking_metrics, k=k)(gains, mask, relevance)
    expected = [loop(row[:n], all_gains, k) for row, n, all_gains in zip(gains, lengths, relevance, strict=True)]
    np.testing.assert_allclose(np.stack(found, axis=1), expected, atol=1e-6)


def test_the_best_order_has_one_and_no_order_of_the_results_has_more():
  best, worst = np.array([[3, 2, 1, 0, 0]]), np.array([[0, 0, 1, 2, 3]])
  metric = lambda gains: compiled(metrics.ranking_metrics)(gains, np.ones((1, 5)), best)
  np.testing.assert_allclose([metric(best).ndcg, metric(best).average_precision, metric(best).recall], 1, rtol=1e-6)
  for high, low in zip(metric(best)[2:], metric(worst)[2:], strict=True):
    assert high > low


def test_an_empty_list():
  nothing = np.zeros((1, 0))
  for k in (None, 3):
    assert not np.any(compiled(metrics.ranking_metrics, k=k)(nothing, nothing, np.ones((1, 2))))
  with pytest.raises(ValueError, match="rank_biased_overlap: expected lists of at least one document"):
    metrics.rank_biased_overlap(jnp.asarray(nothing, int), jnp.asarray(nothing, int))


def test_a_fused_ranking_does_not_know_the_scores_and_a_missing_document_adds_nothing():
  ranks, mask = np.array([[1, 2, 3], [3, 1, 2]]), np.array([[1, 1, 1], [1, 0, 1]])
  fused = compiled(metrics.reciprocal_rank_fusion)(ranks, mask)
  np.testing.assert_allclose(fused, [1 / 61 + 1 / 63, 1 / 62, 1 / 63 + 1 / 62], rtol=1e-6)


def test_overlap_of_equal_disjoint_and_other_lists():
  first = np.array([[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3]])
  second = np.array([[1, 2, 3], [7, 8, 9], [3, 2, 1], [1, 9, 2]])
  agreement = np.array([[1, 1, 1], [0, 0, 0], [0, 1 / 2, 1], [1, 1 / 2, 2 / 3]])
  p = 0.9
  expected = [p**3 * a[2] + (1 - p) / p * sum(p**d * x for d, x in enumerate(a, 1)) for a in agreement]
  np.testing.assert_allclose(compiled(metrics.rank_biased_overlap, p=p)(first, second), expected, rtol=1e-5, atol=1e-7)
  np.testing.assert_allclose(expected[:2], [1, 0], atol=1e-12)


def test_normalised_precision_is_zero_at_the_base_rate():
  found = compiled(metrics.normalized_average_precision)(np.array([0.3, 1.0, 1.0]), np.array([0.3, 0.3, 1.0]))
  np.testing.assert_allclose(found, [0, 1, 0], atol=1e-7)


GAINS = lambda rng, shape: rng.integers(0, 3, shape).astype(np.int32)
IDS = lambda rng, shape: np.argsort(rng.random(shape), axis=1).astype(np.int32)
RATES = lambda rng, shape: rng.random(shape).astype(np.float32)

KERNELS = [
  Kernel(
    metrics.ranking_metrics,
    {"gains": "BS", "mask": "BS", "relevant_gains": "BK"},
    {"k": 3},
    draws={"gains": GAINS, "relevant_gains": GAINS},
  ),
  Kernel(
    metrics.normalized_average_precision,
    {"average_precision": "B", "base_rates": "B"},
    mask=None,
    draws={"average_precision": RATES, "base_rates": RATES},
  ),
  Kernel(
    metrics.reciprocal_rank_fusion,
    {"ranks": "KC", "mask": "KC"},
    draws={"ranks": lambda rng, shape: 1 + IDS(rng, shape)},
    sizes={"C": 4},
  ),
  Kernel(metrics.rank_biased_overlap, {"first": "KS", "second": "KS"}, mask=None, draws={"first": IDS, "second": IDS}),
]
