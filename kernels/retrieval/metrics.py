"""Quality of rankings of documents, and rankings made of several.

A row is a query and its list of results, best first: `gains` [B K] hold the relevance of the document in each place, 0
if it is not relevant. `relevant_gains` [B R] hold the gains of all its relevant documents in any order, and 0 in slots
that are left. A query without relevant documents has 0 in every metric and counts in means over queries. Nothing
carries a gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import matching_axes, same_shape
from rl_jax.kernels.reductions import widen, zero_masked


class RankingMetrics(NamedTuple):
  """Metrics of each query within its first k results."""

  precision: Float[Array, " B"]
  """Relevant results over k."""
  recall: Float[Array, " B"]
  """Relevant results over all relevant documents."""
  reciprocal_rank: Float[Array, " B"]
  """1 / rank of the first relevant result (MRR is its mean)."""
  average_precision: Float[Array, " B"]
  """Mean over all relevant documents of the precision at their rank, 0 for those not found (MAP is its mean)."""
  ndcg: Float[Array, " B"]
  """Sum of gain / log2(rank + 1), over that of the best ranking possible."""


def _discounted(gains, k):
  gains = gains[:, :k]
  return (gains / jnp.log2(jnp.arange(2, gains.shape[1] + 2, dtype=gains.dtype))).sum(axis=1)


def ranking_metrics(
  gains: Num[Array, "B K"], mask: Num[Array, "B K"], relevant_gains: Num[Array, "B R"], *, k: int | None = None
) -> RankingMetrics:
  """Precision, recall, reciprocal rank, average precision and nDCG of the first k results; None: of the whole list.

  "Dense Text Retrieval", arXiv 2211.14876, with the conventions of trec_eval: gains enter nDCG as they are, not as
  2^gain - 1. Masked places (a list shorter than K) are misses; an empty
  list has 0 in all.

  >>> metrics = ranking_metrics(jnp.array([[0, 3, 0, 1]]), jnp.ones((1, 4)), jnp.array([[3, 1, 2]]), k=3)
  >>> print(*(x.item() for x in metrics[:3]), f"{metrics.ndcg.item():.4f}")
  0.3333333432674408 0.3333333432674408 0.5 0.3975
  """
  matching_axes("ranking_metrics", gains=(gains, "B K"), mask=(mask, "B K"), relevant_gains=(relevant_gains, "B R"))
  gains, relevant_gains = zero_masked(gains, mask)[:, :k], widen(relevant_gains)
  k = gains.shape[1] if k is None else k
  ranks = jnp.arange(1, gains.shape[1] + 1)
  hits = widen(gains > 0)
  found, relevant = hits.sum(axis=1), widen(relevant_gains > 0).sum(axis=1)
  share = lambda x, total: jnp.where(total > 0, x / jnp.where(total > 0, total, 1), 0)
  best = _discounted(jnp.flip(jnp.sort(relevant_gains, axis=1), axis=1), k)
  metrics = RankingMetrics(
    precision=share(found, k),
    recall=share(found, relevant),
    reciprocal_rank=(hits / ranks).max(axis=1, initial=0),
    average_precision=share((hits * jnp.cumsum(hits, axis=1) / ranks).sum(axis=1), relevant),
    ndcg=share(_discounted(gains, k), best),
  )
  return jax.lax.stop_gradient(metrics)


def normalized_average_precision(
  average_precision: Float[Array, " B"], base_rates: Float[Array, " B"]
) -> Float[Array, " B"]:
  """(AP - f) / (1 - f), f the share of relevant documents: 0 for a random order of many, 1 for a perfect one.

  SAE embeddings, arXiv 2512.10092, how well a latent is predicted from a dense embedding; our reading of a garbled
  formula. 0 where every document is relevant.

  >>> print(normalized_average_precision(jnp.array([0.75]), jnp.array([0.5])))
  [0.5]
  """
  same_shape("normalized_average_precision", "B", average_precision=average_precision, base_rates=base_rates)
  precision, rates = widen(average_precision), widen(base_rates)
  values = jnp.where(rates < 1, (precision - rates) / jnp.where(rates < 1, 1 - rates, 1), 0)
  return jax.lax.stop_gradient(values)


def reciprocal_rank_fusion(
  ranks: Num[Array, "L C"], mask: Num[Array, "L C"], *, constant: float = 60.0
) -> Float[Array, " C"]:
  """s_c = sum over lists l with document c of 1 / (constant + rank_lc): one ranking of several, whatever their scores.

  SAE embeddings, arXiv 2512.10092, which does not state the constant; 60 is the usual one. Ranks begin at 1.

  >>> print(reciprocal_rank_fusion(jnp.array([[1, 2], [1, 9]]), jnp.array([[1, 1], [1, 0]]), constant=1.0).round(3))
  [1.    0.333]
  """
  same_shape("reciprocal_rank_fusion", "L C", ranks=ranks, mask=mask)
  return jax.lax.stop_gradient(zero_masked(1 / (constant + zero_masked(ranks, mask)), mask).sum(axis=0))


def rank_biased_overlap(first: Int[Array, "B K"], second: Int[Array, "B K"], *, p: float = 0.98) -> Float[Array, " B"]:
  """p^K A_K + (1 - p) / p sum_{d <= K} p^d A_d, A_d the share of the first d places with the same documents.

  SAE embeddings, arXiv 2512.10092, with p = 0.98. Ids are distinct within a row. That lists of K places are
  extrapolated, as if A stayed what it is, is not in the paper: equal lists have 1, disjoint ones 0.

  >>> print(rank_biased_overlap(jnp.array([[1, 2]]), jnp.array([[2, 1]]), p=0.5).round(3))
  [0.5]
  """
  same_shape("rank_biased_overlap", "B K", first=first, second=second)
  if not first.shape[1]:
    raise ValueError("rank_biased_overlap: expected lists of at least one document")
  rows, places = jnp.arange(first.shape[0])[:, None, None], jnp.arange(first.shape[1])
  # A document is in the beginnings of both lists from the later of its two places on.
  later = jnp.where(first[:, :, None] == second[:, None, :], jnp.maximum(places[:, None], places), first.shape[1])
  depth = widen(places + 1)
  overlap = jnp.zeros(first.shape, depth.dtype).at[rows, later].add(1, mode="drop").cumsum(axis=1) / depth
  return jax.lax.stop_gradient(p ** first.shape[1] * overlap[:, -1] + overlap @ ((1 - p) / p * p**depth))
