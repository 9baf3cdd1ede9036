"""Dynamic sampling: prompts are asked in waves until enough of them are worth training on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from rl_jax.curricula.curriculum import Plan
from rl_jax.rollouts.continuation import concatenate
from rl_jax.rollouts.rollout import Phase, Rollout
from rl_jax.trajectories import Trajectories


def waves(
  respond: Rollout,
  completions_per_prompt: int,
  keep: Callable[[Trajectories], Bool[Array, " B"]],
  max_waves: int,
) -> Rollout:
  """The responses to the first N prompts whose group is kept.

  The plan names max_waves x N prompts. Wave w asks the next N of them, unless N groups are kept already: then it
  samples nothing. Prompts that are not asked, and groups beyond the N-th, are dropped. Where all waves keep fewer than
  N groups, the others' rows have `row_mask` False. Tokens of groups that are not trained on count as `spent_tokens` of
  the first row.

  Extras: "metric/waves", the waves that sampled, and "metric/kept", the share of the groups asked that were kept (both
  0 where none was).

  Args:
    respond: what a wave does for its part of the plan: independent responses, those of one prompt together.
    keep: scored trajectories -> True on rows of groups that are worth training on; one row is enough for its group.

  Raises: ValueError: max_waves is less than 1, or does not divide the prompts of a plan.
  """
  if max_waves < 1:
    raise ValueError(f"max_waves is at least 1, got {max_waves}")
  by_group = lambda x: x.reshape(-1, completions_per_prompt).any(axis=1)

  def prompts_of_a_wave(plan: Plan) -> int:
    prompts = plan.prompt_ids.shape[0]
    if prompts % max_waves:
      raise ValueError(f"a plan of {prompts} prompts does not go into {max_waves} waves: name a multiple of them")
    return prompts // max_waves

  def asking(number: int, step: int, of_wave: Phase) -> Phase:
    def phase(models, state, plan, task, trajectories, key):
      count = prompts_of_a_wave(plan)
      rows = count * completions_per_prompt
      before = trajectories.rows(jnp.arange(number * rows)) if number else None
      begun = trajectories.rows(jnp.arange(number * rows, (number + 1) * rows)) if step else None
      short = by_group(keep(before)).sum() < count if number else True
      asked, answers = slice(number * count, (number + 1) * count), slice(number * rows, (number + 1) * rows)
      prompts = jax.tree.map(lambda x: x[asked], task.prompts(plan.prompt_ids, "train"))
      planned = Plan(
        prompt_ids=plan.prompt_ids[asked],
        row_mask=plan.row_mask[answers] & short,
        response_limits=jnp.where(short, plan.response_limits[answers], 0),
      )
      task = dataclasses.replace(task, prompts=lambda ids, split: prompts)
      state, new = of_wave(models, state, planned, task, begun, key)
      if not step:
        new = new.replace(group_ids=new.group_ids + number * count)
      return state, concatenate(before, new) if number else new

    return phase

  def select(models, state, plan, task, trajectories, key):
    asked, kept = by_group(trajectories.row_mask), by_group(keep(trajectories))
    chosen = jnp.argsort(~kept, stable=True)[: prompts_of_a_wave(plan)]
    rows = (chosen[:, None] * completions_per_prompt + jnp.arange(completions_per_prompt)).reshape(-1)
    selected = trajectories.rows(rows)
    selected = selected.replace(row_mask=selected.row_mask & jnp.repeat(kept[chosen], completions_per_prompt))
    left_out = trajectories.loss_mask.sum() - selected.trained.sum()
    every = lambda x: jnp.full(rows.shape, x, jnp.float32)
    return state, selected.with_arrays(
      spent_tokens=selected.spent_tokens.at[0].add(left_out),
      **{
        "metric/waves": every(asked.reshape(max_waves, -1).any(axis=1).sum()),
        "metric/kept": every(kept.sum() / jnp.maximum(asked.sum(), 1)),
      },
    )

  sampled = (asking(number, i, phase) for number in range(max_waves) for i, phase in enumerate(respond.phases))
  return Rollout(phases=(*sampled, select), init=respond.init)
