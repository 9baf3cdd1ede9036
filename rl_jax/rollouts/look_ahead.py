"""Look-ahead sampling: few responses to every prompt, then more to prompts whose expected reward these refute."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rl_jax.curricula.curriculum import Plan
from rl_jax.kernels.advantages.prior import Fusion, fuse_prior
from rl_jax.kernels.curricula.stopping import expected_gain, look_ahead_allocation
from rl_jax.kernels.reductions import Mean, group_mean, group_size, masked_mean
from rl_jax.rollouts.continuation import concatenate
from rl_jax.rollouts.estimators import Estimator
from rl_jax.rollouts.rollout import Phase, PhaseResult, Rollout, nothing_new
from rl_jax.tasks.task import ExtraSpec, Prompts
from rl_jax.trajectories import PrefixTrees, Trajectories

PROVIDES = {
  "priors": ExtraSpec((), "float32", "mean reward that was expected of the prompt before any response"),
  "prompt_weights": ExtraSpec((), "float32", "1 / scored rows of the prompt on each of them: every prompt counts once"),
}


def look_ahead(
  respond: Callable[[int], Rollout],
  estimator: Estimator,
  completions_per_prompt: int,
  *,
  rounds: int,
  rows_per_round: int,
  k_max: int,
  cost: float,
  noise_variance: float,
) -> Rollout:
  """`completions_per_prompt` responses to each of N prompts, then `rounds` rounds of `rows_per_round` more.

  After each round the rewards so far are fused with the prompt's estimate, and the next round goes to the prompts that
  still ask for responses, see `look_ahead_allocation`. The batch has B = N completions_per_prompt + rounds
  rows_per_round rows. Rows that no prompt asks for have `row_mask` False and sample nothing. The rows of a prompt have
  one group id; those of the rounds come last. At the end, the estimator learns from all scored rows.

  Extras: those of `PROVIDES`. Metrics: `rows_per_prompt`; `rounds`, the number of rounds that sampled; `refuted`, the
  share of prompts whose rewards moved the baseline off the estimate; `undecided`, the share that still asks.

  Args:
    respond: number of responses -> a stateless rollout of that many to each prompt, with those of a prompt adjacent.
    k_max, cost, noise_variance: options of the stopping rule, see `rl_jax.kernels.curricula.stopping`.

  Raises: ValueError: k_max is less than completions_per_prompt.
  """
  if k_max < completions_per_prompt:
    raise ValueError(f"k_max={k_max}: want at least completions_per_prompt={completions_per_prompt}, the first round")
  first, more = respond(completions_per_prompt), respond(1)

  def with_priors(phase: Phase) -> Phase:
    def run(models, state, plan, prompts, trajectories, key):
      result = phase(models, state, plan, prompts, trajectories, key)
      priors = jnp.repeat(estimator.values(models, state, prompts), completions_per_prompt)
      return result._replace(trajectories=result.trajectories.with_extras(priors=priors))

    return run

  def evidence(trajectories: Trajectories, prompts: Prompts) -> _Evidence:
    rows = jnp.arange(prompts.ids.shape[0]) * completions_per_prompt
    ids, scored = trajectories.group_ids, trajectories.scored
    means, scores = group_mean(trajectories.rewards, ids, scored)[rows], group_size(ids, scored)[rows]
    fusion = fuse_prior(means, scores, trajectories.extras["priors"][rows], noise_variance=noise_variance)
    return _Evidence(rows, fusion, group_size(ids, trajectories.row_mask)[rows])

  def asking(number: int, step: int, phase: Phase) -> Phase:
    def run(models, state, plan, prompts, trajectories, key):
      start = plan.row_mask.shape[0] + number * rows_per_round
      before = trajectories.first(start)
      begun = trajectories.rows(jnp.arange(start, start + rows_per_round)) if step else None
      so_far = evidence(before, prompts)
      chosen, asked = look_ahead_allocation(
        so_far.fusion.squared_bias,
        so_far.fusion.samples,
        so_far.sampled,
        responses=rows_per_round,
        k_max=k_max,
        cost=cost,
        noise_variance=noise_variance,
      )
      rows = so_far.rows[chosen]
      planned = Plan(
        prompt_ids=plan.prompt_ids[chosen],
        row_mask=asked,
        response_limits=jnp.where(asked, plan.response_limits[rows], 0),
        extras={name: x[chosen] for name, x in plan.extras.items()},
      )
      result = phase(models, state, planned, jax.tree.map(lambda x: x[chosen], prompts), begun, key)
      new = result.trajectories
      if not step:
        new = new.replace(group_ids=before.group_ids[rows]).with_extras(priors=before.extras["priors"][rows])
      verify = jnp.concatenate([nothing_new(before), result.verify])
      return result._replace(trajectories=concatenate(before, new), verify=verify)

    return run

  def learn(models, state, plan, prompts, trajectories, key):
    so_far, count = evidence(trajectories, prompts), lambda x: x.sum().astype(jnp.float32)
    fusion, known = so_far.fusion, so_far.fusion.samples > 0
    gains = expected_gain(fusion.squared_bias, fusion.samples, noise_variance=noise_variance)
    sampled = trajectories.row_mask[plan.row_mask.shape[0] :].reshape(rounds, rows_per_round).any(axis=1)
    metrics = {
      "rows_per_prompt": masked_mean(so_far.sampled, so_far.sampled > 0),
      "rounds": Mean(count(sampled), jnp.float32(1.0)),
      "refuted": masked_mean(fusion.weight > 0, known),
      "undecided": masked_mean((gains > cost) & (so_far.sampled < k_max), known),
    }
    scored = trajectories.scored
    weights = jnp.where(scored, 1 / jnp.maximum(group_size(trajectories.group_ids, scored), 1), 0.0)
    trees = trajectories.first(plan.row_mask.shape[0]).trees
    # Models run each part separately, so the rows of all rounds are one part.
    alone = (PrefixTrees.alone(rounds * rows_per_round),) if trees and rounds else ()
    trajectories = trajectories.replace(trees=(*trees, *alone)).with_extras(prompt_weights=weights)
    state = estimator.update(state, prompts, fusion.mean, known)
    return PhaseResult(state, trajectories, nothing_new(trajectories), jnp.int32(0), metrics)

  begins, *ends = first.phases
  further = (asking(number, i, phase) for number in range(rounds) for i, phase in enumerate(more.phases))
  return dataclasses.replace(
    first,
    phases=(with_priors(begins), *ends, *further, learn),
    init=estimator.init,
    provides={**first.provides, **PROVIDES},
  )


class _Evidence(NamedTuple):
  """The responses so far, by prompt."""

  rows: Int[Array, " N"]
  """First row of each prompt."""
  fusion: Fusion
  """Rewards of the responses, fused with the estimate."""
  sampled: Float[Array, " N"]
  """Number of responses, including unscored ones."""
