"""Rollout of demonstrations: the task's worked solutions, imperfect on purpose."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rl_jax.rollouts.rollout import PhaseResult, Rollout, assemble, unasked
from rl_jax.rollouts.turns import in_turns
from rl_jax.tasks.task import Task
from rl_jax.trajectories import DEMONSTRATION


def demonstrations(task: Task) -> Rollout:
  """One demonstration of each prompt of the plan, scored like any response; keeps no state.

  Raises: ValueError: the task has none.
  """
  _traced(task)  # at build time, not during training

  def phase(models, state, plan, prompts, before, key):
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
    rows = rows if task.turns is None else in_turns(rows, task.turns)
    return PhaseResult(state, rows, unasked(rows), jnp.int32(0))

  return Rollout(phases=(phase,))


def _traced(task: Task) -> None:
  ids = jnp.zeros(1, jnp.int32)
  prompts = lambda: task.prompts(ids, "train")
  jax.eval_shape(task.demonstrate, jax.random.key(0), jax.eval_shape(prompts) if task.on_device else prompts())
