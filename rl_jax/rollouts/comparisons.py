"""Rollout of the task's own pairs of responses, for models that learn from preferences."""

from __future__ import annotations

import jax.numpy as jnp

from rl_jax.rollouts.rollout import PhaseResult, Rollout, assemble, unasked
from rl_jax.tasks.task import ExtraSpec, Task
from rl_jax.trajectories import DEMONSTRATION

RESPONSES = 2
"""Responses to a prompt."""
PROVIDES = {
  "ranks": ExtraSpec((), "int32", "rank of a response among those to its prompt, from 1; 0 without a label"),
  "aspect_ranks": ExtraSpec(("A",), "int32", "the same by each aspect alone"),
}


def comparisons(task: Task) -> Rollout:
  """The task's pair of responses to each prompt of the plan, with their ranks; keeps no state.

  Nothing is sampled, so a pair is the same whenever its prompt comes. The verifier scores responses too.

  Raises: ValueError: the task has none.
  """
  if task.preferences is None:
    raise ValueError("this task has no preferences: use one that has, as rl_jax.tasks.tastes")

  def phase(models, state, plan, prompts, before, key):
    pairs = task.preferences(prompts)
    of_rows = lambda x: x.reshape(-1, *x.shape[2:])
    rows = assemble(
      prompts,
      of_rows(pairs.tokens),
      of_rows(pairs.mask),
      completions_per_prompt=RESPONSES,
      row_mask=plan.row_mask,
      truncated=jnp.zeros(plan.row_mask.shape, bool),
      source=DEMONSTRATION,
    )
    rows = rows.with_extras(ranks=of_rows(pairs.ranks), aspect_ranks=of_rows(pairs.aspect_ranks))
    return PhaseResult(state, rows, unasked(rows), jnp.int32(0))

  return Rollout(phases=(phase,), provides=PROVIDES)
