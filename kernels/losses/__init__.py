"""Losses: unreduced per-token (or per-pair) values, reduced by `reductions.aggregate`."""

from rl_jax.kernels.losses.blended import BlendedLoss, copo_loss
from rl_jax.kernels.losses.distillation import forward_kl, generalized_jsd, reverse_kl, top_k_distillation
from rl_jax.kernels.losses.divergence import adaptive_kl_coefficient, kl
from rl_jax.kernels.losses.mixture import ImitationLoss, Mixture, cispo_with_imitation, pdr_loss
from rl_jax.kernels.losses.policy import PolicyLoss, cispo, policy_gradient, truncated_importance_weights
from rl_jax.kernels.losses.preference import PreferenceLoss, dpo
from rl_jax.kernels.losses.prior_model import (
  PairLoss,
  QueryPairs,
  prior_from_logits,
  query_pairs,
  score_labels,
  v0_loss,
)
from rl_jax.kernels.losses.ranking import (
  SwapLabels,
  best_of_n,
  pairwise_ranking,
  ranking_consistency,
  swap_consistent_ranks,
)
from rl_jax.kernels.losses.reward_model import (
  best_of_n_weights,
  binary_cross_entropy,
  bradley_terry,
  class_balanced_weights,
  detached_dpo,
  pair_accuracy,
)
from rl_jax.kernels.losses.segment import SegmentLoss, spo
from rl_jax.kernels.losses.supervised import negative_log_likelihood, positive_example_nll
from rl_jax.kernels.losses.value import value_loss

__all__ = [
  "BlendedLoss",
  "ImitationLoss",
  "Mixture",
  "PairLoss",
  "PolicyLoss",
  "PreferenceLoss",
  "QueryPairs",
  "SegmentLoss",
  "SwapLabels",
  "adaptive_kl_coefficient",
  "best_of_n",
  "best_of_n_weights",
  "binary_cross_entropy",
  "bradley_terry",
  "cispo",
  "cispo_with_imitation",
  "class_balanced_weights",
  "copo_loss",
  "detached_dpo",
  "dpo",
  "forward_kl",
  "generalized_jsd",
  "kl",
  "negative_log_likelihood",
  "pair_accuracy",
  "pairwise_ranking",
  "pdr_loss",
  "policy_gradient",
  "positive_example_nll",
  "prior_from_logits",
  "query_pairs",
  "ranking_consistency",
  "reverse_kl",
  "score_labels",
  "spo",
  "swap_consistent_ranks",
  "top_k_distillation",
  "truncated_importance_weights",
  "v0_loss",
  "value_loss",
]
