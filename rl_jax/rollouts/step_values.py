"""True values before and after the steps of responses, exact if the task knows them, else from completions.

Both are [B, T], and 0 on tokens outside of steps. The value after the last step of a finished response is its reward,
so that the differences add up to the reward minus the value of the start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rl_jax.rollouts.branches import Boundaries, branches
from rl_jax.rollouts.rollout import Rollout
from rl_jax.rollouts.sampler import Sampling
from rl_jax.tasks.task import Prompts, StepValues, Task
from rl_jax.trajectories import Trajectories


def exact(task: Task, trajectories: Trajectories) -> StepValues:
  """Exact values of steps on training problems; see `DeviceTask.step_values`."""
  assert task.step_values is not None, "the task knows exact values"
  values = task.step_values(*_responses(task, trajectories), ~trajectories.unfinished)
  return _in_slots(trajectories, values)


def of_prover(task: Task, trajectories: Trajectories, strength: float) -> StepValues:
  """Exact values of steps under the task's prover on training problems; see `DeviceTask.prover_values`."""
  assert task.prover_values is not None, "the task has a prover"
  return _in_slots(trajectories, task.prover_values(*_responses(task, trajectories), strength))


def _responses(task: Task, trajectories: Trajectories) -> tuple[Prompts, Int[Array, "B R"], Bool[Array, "B R"]]:
  responses = slice(trajectories.prompt_width, None)
  mask = trajectories.attention_mask[:, responses] & trajectories.row_mask[:, None]
  return task.prompts(trajectories.prompt_ids, "train"), trajectories.tokens[:, responses], mask


def _in_slots(trajectories: Trajectories, values: StepValues) -> StepValues:
  return StepValues(*(jnp.pad(x, ((0, 0), (trajectories.prompt_width, 0))) for x in values))


def required_steps(task: Task, what: str) -> None:
  """Raise ValueError if the verifier marks no steps, which `what` reads: it would find none in any response."""
  if not task.marks_steps:
    raise ValueError(f"{what} of steps, and the verifier of this task marks none: use another task")


def starts_of_steps(task: Task, max_steps: int) -> Callable[[Trajectories], Boundaries]:
  """Boundaries at the starts of the first `max_steps` steps of responses.

  Raises: ValueError: max_steps below 1, or a task without steps.
  """
  required_steps(task, "true values are")
  if max_steps < 1:
    raise ValueError(f"true values need at least 1 step, got {max_steps}")

  def boundaries(trajectories: Trajectories) -> Boundaries:
    ids = jnp.where(trajectories.trained, trajectories.step_ids, -1)
    slots = jnp.arange(ids.shape[1]) - trajectories.prompt_width
    nowhere = ids.shape[1]
    first = lambda step: jnp.min(jnp.where(ids == step, slots, nowhere), axis=1)
    starts = jax.vmap(first, out_axes=1)(jnp.arange(max_steps))
    return Boundaries(starts, starts < nowhere)

  return boundaries


def with_completions(rollout: Rollout, task: Task, samples: int, max_steps: int, sampling: Sampling) -> Rollout:
  """Rollout that samples completions from the start of each step. They are measurements: their tokens do not count as
  generated.

  Args:
    samples: number of completions from each start.
    max_steps: number of steps with their own value; later steps are a part of the last of these.

  Raises: ValueError: samples or max_steps below 1, or a task without steps.
  """

  def uncharged(phase):
    return lambda *arguments: phase(*arguments)._replace(generated_tokens=jnp.int32(0))

  sampled, own = branches(task, rollout, starts_of_steps(task, max_steps), samples, sampling), len(rollout.phases)
  return dataclasses.replace(sampled, phases=(*rollout.phases, *map(uncharged, sampled.phases[own:])))


READ = ("cut_values", "cut_mask")
"""Extras of `with_completions` that `from_completions` reads."""


def from_completions(trajectories: Trajectories) -> StepValues:
  """Values of the steps of a batch with completions from `starts_of_steps`."""
  return from_starts(trajectories, trajectories.extras["cut_values"], trajectories.extras["cut_mask"])


def from_starts(trajectories: Trajectories, values: Float[Array, "B S"], mask: Bool[Array, "B S"]) -> StepValues:
  """Values before and after steps, from those of their starts: after a step comes the next start, or the reward."""
  reward = jnp.where(trajectories.scored, trajectories.rewards, 0.0)[:, None]
  ahead = lambda x, fill: jnp.concatenate([x[:, 1:], jnp.full_like(x[:, :1], fill)], axis=1)
  after = jnp.where(ahead(mask, False), ahead(values, 0.0), reward)
  inside = trajectories.trained & (trajectories.step_ids >= 0)
  index = jnp.clip(trajectories.step_ids, 0, values.shape[1] - 1)

  def spread(x: Float[Array, "B S"]) -> Float[Array, "B T"]:
    return jnp.where(inside, jnp.take_along_axis(x, index, axis=1), 0.0)

  return StepValues(spread(values), spread(after))
