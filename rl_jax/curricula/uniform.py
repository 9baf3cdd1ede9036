"""Prompts drawn from the task's own distribution in each iteration."""

from __future__ import annotations

import jax.numpy as jnp

from rl_jax.curricula.curriculum import Curriculum, Plan


def uniform(prompts: int, completions_per_prompt: int) -> Curriculum:
  """`prompts` fresh problems per iteration with `completions_per_prompt` responses each; keeps no state."""
  rows = prompts * completions_per_prompt

  def next_plan(state, task, key):
    plan = Plan(
      prompt_ids=task.problem_ids(key, prompts, "train"),
      row_mask=jnp.ones(rows, bool),
      response_limits=jnp.full(rows, task.response_tokens),
    )
    return plan, state

  return Curriculum(init=lambda key: (), next=next_plan, update=lambda state, trajectories, signal: state)
