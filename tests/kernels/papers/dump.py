"""DUMP (arXiv 2504.09710): the bandit over a sequence of batches."""

from __future__ import annotations

import jax.numpy as jnp

from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.curricula.bandit import (
  Bandit,
  learnability,
  source_probabilities,
  update_bandit,
  upper_confidence_bounds,
)
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  sources = jnp.ones(inputs["num_sources"], bool)
  tau = inputs.get("tau", 0.1)

  @quick_jit
  def step(bandit, batch):
    rows = jnp.ones(batch["rewards"].shape, bool)
    advantages = grpo(batch["rewards"], batch["group_ids"], rows)
    bandit = update_bandit(bandit, advantages, batch["source_ids"], rows)
    return bandit, {
      "advantages": advantages,
      "mu": learnability(bandit),
      "counts": bandit.counts,
      "ucb": upper_confidence_bounds(bandit),
      "probs": source_probabilities(bandit, sources, tau=tau),
    }

  bandit, trace = Bandit.empty(inputs["num_sources"], window=inputs.get("window", 300)), []
  for batch in inputs["steps"]:
    arrays = {name: jnp.asarray(values) for name, values in batch.items()}
    bandit, outputs = step(bandit, arrays | {"rewards": arrays["rewards"].astype(float)})
    trace.append(outputs)
  return {"trace": trace, "probs": source_probabilities(bandit, sources, tau=tau)}
