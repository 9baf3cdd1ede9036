"""Retrieval by dense vectors: scores, losses, indexes, feedback, and the quality of rankings."""

from rl_jax.kernels.retrieval.metrics import (
  RankingMetrics,
  normalized_average_precision,
  rank_biased_overlap,
  ranking_metrics,
  reciprocal_rank_fusion,
)

__all__ = [
  "RankingMetrics",
  "normalized_average_precision",
  "rank_biased_overlap",
  "ranking_metrics",
  "reciprocal_rank_fusion",
]
