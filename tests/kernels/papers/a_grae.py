"""A-GRAE (arXiv 2602.05548): asymmetric group advantages and their control experiments."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.advantages import difficulty
from rl_jax.kernels.advantages.group import grpo
from rl_jax.methods.a_grae import released
from tests.kernels.kernel import quick_jit
from tests.kernels.papers import as_released


def compute(case, inputs):
  options = {name: inputs.pop(name) for name in ("alpha", "eps", "ddof")}
  outputs = quick_jit(lambda arrays: computed(**arrays, **options))(inputs)
  # The reference leaves the code out with ddof 0, and with groups of one, which it divides by 1e-6.
  if options["ddof"] == 0 or 1 in np.unique(inputs["group_ids"], return_counts=True)[1]:
    del outputs["advantages_code"], outputs["omega_code"]
  return outputs


def computed(rewards, group_ids, alpha, eps, ddof):
  args, options = (rewards, group_ids, jnp.ones(rewards.shape, bool)), dict(eps=eps, ddof=ddof)
  return {
    "grpo_base": grpo(*args, singleton="zero", **options),
    "omega_paper": difficulty.batch_success_rate(rewards, args[-1]),
    "omega_code": as_released.success_rate_over_groups(*args),
    "advantages_paper": difficulty.a_grae(*args, alpha=alpha, **options),
    "advantages_paper_dr_grpo_base": difficulty.a_grae(*args, alpha=alpha, base="dr_grpo", **options),
    "advantages_code": released(*args, rewards, alpha, base="grpo", **options),
    "positive_dominant": difficulty.sign_dominant(*args, **options),
    "negative_dominant": difficulty.sign_dominant(*args, sign="negative", **options),
    "hard_focused": difficulty.difficulty_focused(*args, **options),
    "easy_focused": difficulty.difficulty_focused(*args, focus="easy", **options),
  }
