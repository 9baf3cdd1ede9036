"""Hinted responses: rows that continue the first part of a reference solution, beside plain rows of the same prompts.

The hint fills the first slots of a response, where the verifier reads it. Its tokens have the source HINT and are not
part of `loss_mask`; a method decides their weight.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from rl_jax.kernels.curricula.hints import difficulty, hint_lengths, hint_ratio
from rl_jax.kernels.reductions import masked_mean
from rl_jax.rollouts.continuation import concatenate, resample_from
from rl_jax.rollouts.flat import PROVIDES as OF_RESPONSES
from rl_jax.rollouts.flat import flat
from rl_jax.rollouts.rollout import PhaseResult, Rollout, assemble, unasked
from rl_jax.rollouts.sampler import Sampling
from rl_jax.tasks.task import ExtraSpec, Task
from rl_jax.trajectories import HINT, PrefixTrees, Trajectories

PROVIDES = {**OF_RESPONSES, "hinted": ExtraSpec((), "bool", "the response continues a hint")}


def hint_tokens(trajectories: Trajectories) -> Bool[Array, "B T"]:
  """Mask of the tokens of hints."""
  return trajectories.attention_mask & (trajectories.source_ids == HINT)


def hinted(
  task: Task,
  plain: int,
  helped: int,
  sampling: Sampling,
  *,
  low: float,
  high: float,
  noise: float,
) -> Rollout:
  """`plain` responses to each of N prompts, then `helped` that continue a hint; the harder the prompt, the longer.

  The hint is the share `hint_ratio` of the reference solution. The share follows from the mean reward of the plain rows
  and a draw from Uniform(-noise, noise) for each prompt. The last token of a solution is never part of the hint. A
  prompt without a scored row counts as hardest. The rows of a prompt are adjacent, plain ones first: B = N (plain +
  helped). A plan covers the plain rows; the hint counts towards the limit of the hinted ones.

  Extras: those of `PROVIDES`. Metrics: `hint_ratio`, and `hint_length` in tokens, means over prompts.

  Args:
    low, high: bounds of the share before noise.

  Raises: ValueError: the task has no solutions, or turns.
  """
  if task.solutions is None:
    raise ValueError("hints are parts of solutions, and this task has none: use one that does, as rl_jax.tasks.chain")
  if task.turns is not None:
    raise ValueError("a response of several turns cannot continue a hint: use a task without turns")
  respond = flat(task, plain, sampling)

  def continued(models, state, plan, prompts, before, key):
    prompts_in_plan = prompts.ids.shape[0]
    first = jnp.arange(prompts_in_plan) * plain
    in_use = plan.row_mask[first]
    prior = difficulty(before.rewards, before.group_ids, before.scored)[first]
    shifts = jax.random.uniform(jax.random.fold_in(key, 1), prior.shape, minval=-noise, maxval=noise)
    ratios = hint_ratio(prior, shifts, low=low, high=high)
    tokens, mask = task.solutions(prompts)
    whole = mask.sum(axis=1)
    lengths = jnp.minimum(hint_lengths(ratios, whole), whole - 1)
    solved = assemble(
      prompts,
      tokens,
      mask,
      completions_per_prompt=1,
      row_mask=in_use,
      truncated=jnp.zeros_like(in_use),
      source=HINT,
    )
    rows = resample_from(
      models["policy"],
      task,
      solved,
      solved.prompt_width + lengths,
      jax.random.fold_in(key, 0),
      sampling=sampling,
      completions=helped,
      limits=jnp.repeat(jnp.maximum(plan.response_limits[first] - lengths, 0), helped),
    )
    # A response that reaches the plan's limit ends here; it is not continued in a later iteration.
    cut = rows.truncated | rows.unfinished
    rows = rows.replace(truncated=cut, unfinished=jnp.zeros_like(cut)).with_extras(hinted=jnp.ones_like(cut))
    generated, of_prompts = rows.sampled_tokens, lambda x: masked_mean(x.astype(jnp.float32), in_use)
    both = concatenate(before.with_extras(hinted=jnp.zeros_like(before.row_mask)), rows)
    parts = jnp.split(jnp.arange(both.tokens.shape[0]), [prompts_in_plan * plain])
    order = jnp.concatenate([part.reshape(prompts_in_plan, -1) for part in parts], axis=1).ravel()
    trees = PrefixTrees.groups(order.shape[0], plain + helped, both.prompt_width)
    both = both.rows(order).replace(trees=(trees,))
    metrics = {"hint_ratio": of_prompts(ratios), "hint_length": of_prompts(lengths)}
    return PhaseResult(state, both, unasked(both), generated, metrics)

  return dataclasses.replace(respond, phases=(*respond.phases, continued), provides=PROVIDES)
