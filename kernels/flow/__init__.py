"""Diffusion and flow matching: losses on velocities, reverse steps as actions, preferences between denoised samples.

Convention: x_t = (1 - t) x_0 + t eps, so that t = 1 is noise; the target velocity is u = eps - x_0."""

from rl_jax.kernels.flow.matching import (
  FlowPath,
  MatchingLoss,
  awm,
  bounded_advantages,
  ema_decay,
  flow_path,
  matching_logprobs,
  velocity_kl,
)
from rl_jax.kernels.flow.preference import (
  DenseLoss,
  GuidedSamples,
  dense_dpo,
  flow_dpo,
  frame_scores,
  guided_samples,
  majority_labels,
)
from rl_jax.kernels.flow.reverse_steps import ReverseStep, reverse_step, step_kl, step_logprobs
from rl_jax.kernels.flow.times import score_variance_gap, training_indices, training_times

__all__ = [
  "DenseLoss",
  "FlowPath",
  "GuidedSamples",
  "MatchingLoss",
  "ReverseStep",
  "awm",
  "bounded_advantages",
  "dense_dpo",
  "ema_decay",
  "flow_dpo",
  "flow_path",
  "frame_scores",
  "guided_samples",
  "majority_labels",
  "matching_logprobs",
  "reverse_step",
  "score_variance_gap",
  "step_kl",
  "step_logprobs",
  "training_indices",
  "training_times",
  "velocity_kl",
]
