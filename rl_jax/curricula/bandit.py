"""Bandit over difficulty levels: new problems come from levels where recent ones moved the policy most."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from rl_jax.curricula.curriculum import Curriculum, Plan
from rl_jax.curricula.levels import ids_of_levels
from rl_jax.kernels.curricula.bandit import Bandit, source_probabilities, update_bandit
from rl_jax.kernels.reductions import masked_mean
from rl_jax.tasks.task import Task

DRAWS = 4096
"""Number of problems drawn to find the levels that occur. A rarer level is left out, since drawing its problems would
take too long."""


def bandit(
  task: Task,
  prompts: int,
  completions_per_prompt: int,
  *,
  window: int = 300,
  tau: float = 0.1,
  exploration: float = 1.0,
) -> Curriculum:
  """`prompts` problems per iteration, each of a level drawn from softmax(UCB / tau); DUMP, arXiv 2504.09710.

  The pay-off of a level is the mean |advantage| of its last `window` responses. The state is the `Bandit` of
  `rl_jax.kernels.curricula.bandit`; the advantage of a row is the mean of the stream "policy" over its tokens.

  Args:
    task: task whose levels are the arms.
  """
  rows, occurs = prompts * completions_per_prompt, occurring(task)

  def probabilities(state: Bandit) -> Float[Array, " L"]:
    return source_probabilities(state, jnp.asarray(occurs), tau=tau, exploration=exploration)

  def next_plan(state, task, key):
    of_levels, of_ids = jax.random.split(key)
    levels = jax.random.categorical(of_levels, jnp.log(probabilities(state)), shape=(prompts,))
    plan = Plan(
      prompt_ids=ids_of_levels(task, of_ids, levels),
      row_mask=jnp.ones(rows, bool),
      response_limits=jnp.full(rows, task.response_tokens),
    )
    return plan, state

  def update(state, trajectories, signal):
    stream = signal.streams["policy"]
    advantages = masked_mean(stream.targets, stream.weights, axis=1).value
    return update_bandit(state, advantages, trajectories.extras["levels"], trajectories.scored)

  return Curriculum(init=lambda key: Bandit.empty(len(occurs), window=window), next=next_plan, update=update)


def occurring(task: Task) -> Bool[np.ndarray, " L"]:
  """Mask of the task's levels that have problems in the train split."""
  levels = jax.jit(lambda key: task.levels_of(task.problem_ids(key, DRAWS, "train"), "train"))(jax.random.key(0))
  return np.isin(np.arange(len(task.levels)), np.asarray(levels))
