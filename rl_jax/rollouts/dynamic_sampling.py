"""Dynamic sampling: prompts are sampled in rounds until enough groups are worth training on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from rl_jax.curricula.curriculum import Plan
from rl_jax.kernels.reductions import Mean
from rl_jax.rollouts.continuation import concatenate
from rl_jax.rollouts.rollout import Phase, PhaseResult, Rollout, nothing_new
from rl_jax.trajectories import PrefixTrees, Trajectories


def dynamic_sampling(
  respond: Rollout,
  completions_per_prompt: int,
  keep: Callable[[Trajectories], Bool[Array, " B"]],
  max_rounds: int,
) -> Rollout:
  """Responses to the first N prompts whose group is kept.

  The plan has max_rounds x N prompts, N per round. The first round samples all of its prompts, a later round as many as
  groups are missing. Unused prompts, and groups beyond the N-th, are dropped. If all rounds keep fewer than N groups,
  the missing rows have `row_mask` False.

  Metrics: `rounds`, the number of rounds that sampled; `kept`, the share of sampled groups that were kept.

  Args:
    respond: rollout of a round on its part of the plan: independent responses, adjacent by prompt.
    keep: scored trajectories -> True on rows of groups worth training on; one such row keeps its group.

  Raises: ValueError: max_rounds is less than 1, or does not divide the prompts of a plan.
  """
  if max_rounds < 1:
    raise ValueError(f"max_rounds is at least 1, got {max_rounds}")
  by_group = lambda x: x.reshape(-1, completions_per_prompt).any(axis=1)

  def prompts_of_a_round(plan: Plan) -> int:
    prompts = plan.prompt_ids.shape[0]
    if prompts % max_rounds:
      raise ValueError(f"a plan of {prompts} prompts does not divide into {max_rounds} rounds: use a multiple")
    return prompts // max_rounds

  def missing(plan: Plan, before: Trajectories | None) -> Int[Array, ""] | int:
    count = prompts_of_a_round(plan)
    return count if before is None else count - by_group(keep(before)).sum()

  def asking(number: int, step: int, of_round: Phase) -> Phase:
    def phase(models, state, plan, prompts, trajectories, key):
      count = prompts_of_a_round(plan)
      rows = count * completions_per_prompt
      before = trajectories.rows(jnp.arange(number * rows)) if number else None
      begun = trajectories.rows(jnp.arange(number * rows, (number + 1) * rows)) if step else None
      requested = jnp.repeat(jnp.arange(count) < missing(plan, before), completions_per_prompt)
      part, answers = slice(number * count, (number + 1) * count), slice(number * rows, (number + 1) * rows)
      planned = Plan(
        prompt_ids=plan.prompt_ids[part],
        row_mask=plan.row_mask[answers] & requested,
        response_limits=jnp.where(requested, plan.response_limits[answers], 0),
        extras={name: x[part] for name, x in plan.extras.items()},
      )
      result = of_round(models, state, planned, jax.tree.map(lambda x: x[part], prompts), begun, key)
      if before is None:
        return result
      new = result.trajectories
      if not step:
        new = new.replace(group_ids=new.group_ids + number * count)
      verify = jnp.concatenate([nothing_new(before), result.verify])
      return result._replace(trajectories=concatenate(before, new), verify=verify)

    return phase

  def select(models, state, plan, prompts, trajectories, key):
    requested, passing = by_group(trajectories.row_mask), by_group(keep(trajectories))
    groups = jnp.argsort(~passing, stable=True)[: prompts_of_a_round(plan)]
    rows = (groups[:, None] * completions_per_prompt + jnp.arange(completions_per_prompt)).reshape(-1)
    selected = trajectories.rows(rows)
    in_use = selected.row_mask & jnp.repeat(passing[groups], completions_per_prompt)
    trees = PrefixTrees.groups(rows.shape[0], completions_per_prompt, selected.prompt_width)
    selected = selected.replace(row_mask=in_use, trees=(trees,))
    number = lambda x: x.sum().astype(jnp.float32)
    metrics = {
      "rounds": Mean(number(requested.reshape(max_rounds, -1).any(axis=1)), jnp.float32(1.0)),
      "kept": Mean(number(passing), number(requested)),
    }
    return PhaseResult(state, selected, nothing_new(selected), jnp.int32(0), metrics)

  sampled = (asking(number, i, phase) for number in range(max_rounds) for i, phase in enumerate(respond.phases))
  return dataclasses.replace(respond, phases=(*sampled, select))
