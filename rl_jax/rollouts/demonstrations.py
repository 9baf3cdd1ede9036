"""Rows that the policy did not write: the task's own worked solutions, imperfect on purpose."""

from __future__ import annotations

import jax.numpy as jnp

from rl_jax.rollouts.rollout import Rollout, assemble
from rl_jax.rollouts.turns import in_turns
from rl_jax.trajectories import DEMONSTRATION


def demonstrations() -> Rollout:
  """One demonstration of each prompt of the plan, scored like any response; keeps no state."""

  def phase(models, state, plan, task, trajectories, key):
    prompts = task.prompts(plan.prompt_ids, "train")
    tokens, mask = task.demonstrate(key, prompts)
    rows = assemble(
      prompts,
      tokens,
      mask,
      completions_per_prompt=1,
      row_mask=plan.row_mask,
      truncated=jnp.zeros(tokens.shape[0], bool),
      source=DEMONSTRATION,
    )
    return state, rows if task.turns is None else in_turns(rows, task.turns)

  return Rollout(phases=(phase,))
