"""SALT (arXiv 2510.20022): steps that are the same edge share the advantages of their rollouts."""

from __future__ import annotations

import jax.numpy as jnp

from rl_jax.kernels.advantages import group
from rl_jax.kernels.advantages.graph import salt
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  options = {name: inputs.pop(name) for name in ("estimator", "history_len") if name in inputs}
  return quick_jit(lambda arrays: merged(**arrays, **options))(inputs)


def merged(rewards, group_ids, states, actions, lengths, estimator="grpo", history_len=0):
  rollout = {"grpo": group.grpo, "rloo": group.rloo}[estimator]
  advantages = rollout(rewards, group_ids, jnp.ones(rewards.shape, bool), singleton="zero")
  exists = jnp.arange(actions.shape[1]) < lengths[:, None]
  steps = salt(advantages, group_ids, states[:, :-1], actions, states[:, 1:], exists, history=history_len)
  return {"trajectory_advantages": advantages, "step_advantages": steps.advantages, "edge_counts": steps.counts}
