"""Losses: unreduced per-token (or per-pair) values, reduced by `reductions.aggregate`."""

from rl_jax.kernels.losses.blended import BlendedLoss, copo_loss
from rl_jax.kernels.losses.covariance import clip_cov, kl_cov, token_covariances
from rl_jax.kernels.losses.distillation import forward_kl, generalized_jsd, reverse_kl, top_k_distillation
from rl_jax.kernels.losses.divergence import adaptive_kl_coefficient, kl
from rl_jax.kernels.losses.mixture import ImitationLoss, Mixture, cispo_with_imitation, pdr_loss
from rl_jax.kernels.losses.off_policy import (
  Correction,
  importance_weights,
  off_policy_mask,
  rejection_mask,
  sampler_correction,
)
from rl_jax.kernels.losses.policy import PolicyLoss, cispo, policy_gradient
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
from rl_jax.kernels.losses.trust_region import dppo, gmpo, sapo, vespo
from rl_jax.kernels.losses.value import value_loss

__all__ = [
  "BlendedLoss",
  "Correction",
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
  "clip_cov",
  "copo_loss",
  "detached_dpo",
  "dpo",
  "dppo",
  "forward_kl",
  "generalized_jsd",
  "gmpo",
  "importance_weights",
  "kl",
  "kl_cov",
  "negative_log_likelihood",
  "off_policy_mask",
  "pair_accuracy",
  "pairwise_ranking",
  "pdr_loss",
  "policy_gradient",
  "positive_example_nll",
  "prior_from_logits",
  "query_pairs",
  "ranking_consistency",
  "rejection_mask",
  "reverse_kl",
  "sampler_correction",
  "sapo",
  "score_labels",
  "spo",
  "swap_consistent_ranks",
  "token_covariances",
  "top_k_distillation",
  "v0_loss",
  "value_loss",
  "vespo",
]
