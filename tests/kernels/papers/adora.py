"""ADORA: group weights by variant, and GRPO's advantages times them."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp

from rl_jax.kernels.advantages.reweighting import adora, adora_damping, adora_weights
from rl_jax.kernels.reductions import per_token
from tests.kernels.kernel import quick_jit
from tests.kernels.papers.as_released import adora_openrlhf

FORMS = {
  "paper_llm": adora_weights,
  "paper_vlm": adora_damping,
  "code_llm": adora_damping,
  "code_vlm": adora_openrlhf,
}
NAMES = {"tau": "success_threshold", "w_amp": "amplified", "w_att": "attenuated"}


def compute(case, inputs):
  arrays = {name: inputs[name] for name in ("rewards", "mask", "group_ids")}
  options = {NAMES.get(name, name): value for name, value in inputs.items() if name not in arrays}
  return quick_jit(partial(step, eps=options.pop("eps", 1e-6), **options))(**arrays)


def step(rewards, mask, group_ids, *, variant, eps, **options):
  scored = jnp.ones(rewards.shape, bool)
  weights = FORMS[variant](rewards, mask.sum(axis=1), group_ids, scored, **options)
  advantages = adora(rewards, weights, group_ids, scored, eps=eps, singleton="raw")
  return {"weights": weights, "advantages": advantages, "token_advantages": per_token(advantages, mask)}
