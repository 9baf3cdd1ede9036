"""True values before and after the steps of responses: exact where the task knows them, else from completions.

Both are [B, T], and 0 on tokens outside of steps. The value after the last step of a response that has ended is its
reward, so that the differences of a response add up to its reward minus the value of its start.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rl_jax.rollouts.branches import Boundaries, branches
from rl_jax.rollouts.rollout import Rollout
from rl_jax.rollouts.sampler import Sampling
from rl_jax.tasks.task import StepValues, Task
from rl_jax.trajectories import Trajectories


def exact(task: Task, trajectories: Trajectories) -> StepValues:
  """The task's own values of the steps of problems in the train split. See `DeviceTask.step_values`."""
  assert task.step_values is not None, "the task knows exact values"
  width = trajectories.prompt_width
  responses = slice(width, None)
  mask = trajectories.attention_mask[:, responses] & trajectories.row_mask[:, None]
  prompts = task.prompts(trajectories.prompt_ids, "train")
  values = task.step_values(prompts, trajectories.tokens[:, responses], mask, ~trajectories.unfinished)
  return StepValues(*(jnp.pad(x, ((0, 0), (width, 0))) for x in values))


def with_completions(rollout: Rollout, task: Task, samples: int, max_steps: int, sampling: Sampling) -> Rollout:
  """A rollout that samples completions from the start of each step. They are a means of measurement: their tokens do
  not count as generated.

  Args:
    samples: completions from each start.
    max_steps: steps with a value of their own; later ones count as a part of the last of these.

  Raises: ValueError: samples or max_steps below 1.
  """
  if max_steps < 1:
    raise ValueError(f"true values need at least 1 step, got {max_steps}")

  def boundaries(trajectories: Trajectories) -> Boundaries:
    ids = jnp.where(trajectories.trained, trajectories.step_ids, -1)
    slots = jnp.arange(ids.shape[1]) - trajectories.prompt_width
    nowhere = ids.shape[1]
    first = lambda step: jnp.min(jnp.where(ids == step, slots, nowhere), axis=1)
    starts = jax.vmap(first, out_axes=1)(jnp.arange(max_steps))
    return Boundaries(starts, starts < nowhere)

  def uncharged(phase):
    return lambda *arguments: phase(*arguments)._replace(generated_tokens=jnp.int32(0))

  sampled, own = branches(task, rollout, boundaries, samples, sampling), len(rollout.phases)
  return dataclasses.replace(sampled, phases=(*rollout.phases, *map(uncharged, sampled.phases[own:])))


READ = ("cut_values", "cut_mask")
"""Extras of `with_completions` that `from_completions` reads."""


def from_completions(trajectories: Trajectories) -> StepValues:
  """Values of the steps of a batch that `with_completions` made."""
  values, mask = trajectories.extras["cut_values"], trajectories.extras["cut_mask"]
  reward = jnp.where(trajectories.scored, trajectories.rewards, 0.0)[:, None]
  ahead = lambda x, fill: jnp.concatenate([x[:, 1:], jnp.full_like(x[:, :1], fill)], axis=1)
  after = jnp.where(ahead(mask, False), ahead(values, 0.0), reward)
  inside = trajectories.trained & (trajectories.step_ids >= 0)
  index = jnp.clip(trajectories.step_ids, 0, values.shape[1] - 1)

  def spread(x: Float[Array, "B S"]) -> Float[Array, "B T"]:
    return jnp.where(inside, jnp.take_along_axis(x, index, axis=1), 0.0)

  return StepValues(spread(values), spread(after))
