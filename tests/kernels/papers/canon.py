"""CANON (arXiv 2509.23962): advantages against the halves of a group, and the schedules that mix them."""

from __future__ import annotations

import jax.numpy as jnp

from rl_jax.kernels.advantages import conditional
from rl_jax.kernels.advantages.group import dr_grpo
from rl_jax.kernels.reductions import masked_mean
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  if "steps" in inputs:
    return quick_jit(lambda arrays: schedules(**arrays))(inputs)
  names = {"mu": "mu", "alpha": "alpha", "beta": "beta", "scale": "divisor"}
  options = {names[name]: inputs.pop(name) for name in names if name in inputs}
  if "alpha_on" in inputs:
    options["weighted"] = {"plus": "upper", "minus": "lower"}[inputs.pop("alpha_on")]
  return quick_jit(lambda arrays: advantages(**arrays, options=options))(inputs)


def advantages(rewards, metric, group_ids, options):
  scored = jnp.ones(rewards.shape, bool)
  result = conditional.canon(rewards, metric, group_ids, scored, **options)
  return {
    "advantages": result.advantages,
    "inter": result.inter,
    "intra": result.intra,
    "in_plus": result.upper,
    "dr_grpo": dr_grpo(rewards, group_ids, scored, singleton="zero"),
  }


def schedules(steps, batch_acc, entropy, mask):
  accuracy = jnp.asarray(batch_acc)
  return {
    "cos_first_inter_later_intra": conditional.mixing_by_cosine(steps),
    "cos_first_intra_later_inter": conditional.mixing_by_cosine(steps, first="intra"),
    "first_inter_later_intra": conditional.mixing_by_accuracy(accuracy),
    "first_intra_later_inter": conditional.mixing_by_accuracy(accuracy, first="intra"),
    "metric_entropy": conditional.mean_entropy(entropy, mask),
    "metric_length": masked_mean(mask, mask, axis=1).weight,
  }
