"""Retrieval by dense vectors: scores, losses, indexes, feedback, and the quality of rankings."""

from rl_jax.kernels.retrieval.attacks import AttackRates, attack_rates, confusion_sets, edit_probabilities
from rl_jax.kernels.retrieval.feedback import FeedbackInput, average_feedback, feedback_input, rocchio
from rl_jax.kernels.retrieval.hashing import bpr_search, hash_codes, pack_codes
from rl_jax.kernels.retrieval.indexes import (
  Candidates,
  Results,
  append_relevant,
  inverted_candidates,
  nearest_centroids,
  product_codes,
  product_scores,
  top_documents,
)
from rl_jax.kernels.retrieval.losses import (
  ContrastiveLoss,
  batch_margin_loss,
  contrastive_loss,
  false_negatives,
  lambda_loss,
  margin_mse,
  other_positives,
  pair_loss,
  score_distillation,
)
from rl_jax.kernels.retrieval.metrics import (
  RankingMetrics,
  normalized_average_precision,
  rank_biased_overlap,
  ranking_metrics,
  reciprocal_rank_fusion,
)
from rl_jax.kernels.retrieval.scores import max_similarity, similarity

__all__ = [
  "AttackRates",
  "Candidates",
  "ContrastiveLoss",
  "FeedbackInput",
  "RankingMetrics",
  "Results",
  "append_relevant",
  "attack_rates",
  "average_feedback",
  "batch_margin_loss",
  "bpr_search",
  "confusion_sets",
  "contrastive_loss",
  "edit_probabilities",
  "false_negatives",
  "feedback_input",
  "hash_codes",
  "inverted_candidates",
  "lambda_loss",
  "margin_mse",
  "max_similarity",
  "nearest_centroids",
  "normalized_average_precision",
  "other_positives",
  "pack_codes",
  "pair_loss",
  "product_codes",
  "product_scores",
  "rank_biased_overlap",
  "ranking_metrics",
  "reciprocal_rank_fusion",
  "rocchio",
  "score_distillation",
  "similarity",
  "top_documents",
]
