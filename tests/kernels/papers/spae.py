"""SPAE: probe signals, potential, saturation, shaping, and the advantage on tokens."""

from __future__ import annotations

import jax.numpy as jnp

from rl_jax.kernels.advantages import step
from rl_jax.kernels.advantages.group import dr_grpo
from rl_jax.kernels.rewards import probes


def compute(case, inputs):
  return probe_signals(**inputs) if "entropies" in inputs else advantages(**inputs)


def probe_signals(entropies, lengths, gt_logprobs):
  positions = jnp.arange(entropies.shape[1]) < lengths[:, None]
  return {
    "conf": probes.probe_confidence(entropies, positions),
    "acc": probes.probe_accuracy(gt_logprobs, jnp.ones(gt_logprobs.shape, bool)),
  }


def advantages(rewards, group_ids, acc, conf, step_mask, step_ids, mask, alpha=0.5, xi=0.5, eps_sat=0.9):
  scored = jnp.ones(rewards.shape, bool)
  potential = probes.step_potential(acc, conf, step_mask)
  gains = step.potential_gains(potential, step_mask)
  args = rewards, group_ids, scored, potential, step_mask, step_ids, mask
  options = dict(alpha=alpha, xi=xi, threshold=eps_sat)
  return {
    "group_advantages": dr_grpo(rewards, group_ids, scored, singleton="zero"),
    "potential": potential,
    "saturation_factor": step.saturation_factors(potential, step_mask, alpha=alpha, threshold=eps_sat),
    "potential_diff": gains,
    "shaping": step.exponential_shaping(gains, step_mask),
    "raw_advantages": step.spae(*args, **options, normalization="none"),
    "advantages": step.spae(*args, **options),
  }
