"""Replay: some rows of a rollout are trained on at once, others in later iterations.

A replayed row keeps its original logprobs, so that ratios compare with the policy that sampled it; its tokens have the
source REPLAY.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rl_jax.kernels.reductions import Mean, densify
from rl_jax.rollouts.continuation import concatenate
from rl_jax.rollouts.rollout import PhaseResult, Rollout, nothing_new
from rl_jax.tasks.task import ExtraSpec, Task
from rl_jax.trajectories import REPLAY, Trajectories


class Buffer(flax.struct.PyTreeNode):
  """Waiting rows, at most C; `row_mask` is True for slots in use."""

  rows: Trajectories
  born: Int[Array, " C"]
  """Iteration in which each row was made."""
  iteration: Int[Array, ""]
  """Number of completed iterations."""


class ReplayState(flax.struct.PyTreeNode):
  """State of the wrapped rollout, and the waiting rows."""

  rollout: Any
  buffer: Buffer


def empty_buffer(task: Task, capacity: int, width: int, extras: Mapping[str, Any]) -> Buffer:
  """A buffer without rows.

  Args:
    width: number of prompt slots; rows also have the task's response slots.
    extras: dtypes, by name, of the extras [B] that rows keep.
  """
  per_row = lambda dtype: jnp.zeros(capacity, dtype)
  rows = Trajectories.empty(capacity, width + task.response_tokens, width, objectives=len(task.objectives))
  rows = rows.with_extras(**{name: per_row(dtype) for name, dtype in extras.items()})
  return Buffer(rows, per_row(jnp.int32), jnp.int32(0))


def places_in_group(
  group_ids: Int[Array, " B"], draws: Float[Array, " B"], mask: Bool[Array, " B"]
) -> Int[Array, " B"]:
  """Rank of each unmasked row within its group in the order of `draws`, from 0; masked rows have B."""
  rows = jnp.arange(mask.shape[0])
  groups = densify(group_ids)
  order = jnp.lexsort((draws, ~mask, groups))
  firsts = jnp.concatenate([jnp.ones(1, bool), groups[order][1:] != groups[order][:-1]])
  places = rows - jax.lax.cummax(jnp.where(firsts, rows, 0))
  return jnp.where(mask, jnp.zeros_like(rows).at[order].set(places), mask.shape[0])


def with_replay(
  task: Task,
  rollout: Rollout,
  usable: Callable[[Trajectories], Bool[Array, " B"]],
  *,
  rows: int,
  rows_per_group: int,
  capacity: int,
  max_age: int,
  extras: Mapping[str, Any],
) -> Rollout:
  """Rollout of `rows` rows per iteration: new ones from `rollout`, and old ones in the remaining slots.

  At most `rows_per_group` usable new rows of each group are taken, at random. Remaining slots are filled with random
  rows of the buffer; slots that stay empty have `row_mask` False. The other usable new rows wait in the buffer, which
  drops rows of age `max_age` iterations and the oldest ones beyond `capacity`. No row is trained on twice.

  Groups are identified by their prompt, since rows come from several iterations. Extras are dropped except those to
  keep and "correct".

  Metrics: `replayed`, the share of old rows; `usable`, the number of usable new rows per row of the batch.

  Args:
    usable: scored trajectories -> rows worth training on.
    extras: dtypes, by name, of the extras [B] that the method reads.

  Raises: ValueError, when traced: `rows` exceeds the number of new rows plus `capacity`.
  """

  def within(phase):
    def run(models, state, plan, prompts, before, key):
      result = phase(models, state.rollout, plan, prompts, before, key)
      return result._replace(state=state.replace(rollout=result.state))

    return run

  def select(models, state, plan, prompts, trajectories, key):
    buffer, now = state.buffer, state.buffer.iteration
    num_new = trajectories.tokens.shape[0]
    if num_new + capacity < rows:
      raise ValueError(f"a batch of {rows} rows is too large: only {num_new} are made and {capacity} can wait")
    good = usable(trajectories) & trajectories.row_mask
    draws = jax.random.uniform(key, (num_new + capacity,))
    new = good & (places_in_group(trajectories.group_ids, draws[:num_new], good) < rows_per_group)
    fresh = buffer.rows.row_mask & (now - buffer.born < max_age)
    # In order: new rows, old rows in the order of their draws, empty slots.
    order = jnp.concatenate([jnp.where(new, -1.0, 1.0), jnp.where(fresh, draws[num_new:], 1.0)])
    index = jnp.argsort(order, stable=True)[:rows]
    filled = order[index] < 1.0
    everything = concatenate(as_buffered(buffer.rows, trajectories), buffer.rows)
    batch = everything.rows(index).replace(row_mask=filled)
    born = jnp.concatenate([jnp.full(num_new, now), buffer.born])
    waiting = jnp.concatenate([good, fresh])
    waiting = waiting.at[index].set(waiting[index] & ~filled)
    later = jnp.argsort(jnp.where(waiting, now - born, max_age), stable=True)[:capacity]
    stored = everything.rows(later)
    stored = stored.replace(row_mask=waiting[later], source_ids=jnp.where(stored.loss_mask, REPLAY, stored.source_ids))

    number = lambda x: x.sum().astype(jnp.float32)
    metrics = {
      "replayed": Mean(number(filled & (index >= num_new)), number(filled)),
      "usable": Mean(number(good), jnp.float32(rows)),
    }
    state = state.replace(buffer=Buffer(stored, born[later], now + 1))
    return PhaseResult(state, batch, nothing_new(batch), jnp.int32(0), metrics)

  extras = {**extras, "correct": bool}
  width = task.prompt_tokens if rollout.prompt_width is None else rollout.prompt_width
  return dataclasses.replace(
    rollout,
    phases=(*map(within, rollout.phases), select),
    provides={name: ExtraSpec((), jnp.dtype(dtype).name, "as it was made") for name, dtype in extras.items()},
    keeps_verdicts=False,
    init=lambda key: ReplayState(rollout.init(key), empty_buffer(task, capacity, width, extras)),
  )


def as_buffered(buffered: Trajectories, trajectories: Trajectories) -> Trajectories:
  """New rows with the extras and dtypes of the buffer, grouped by prompt."""
  extras = trajectories.extras | {"correct": trajectories.correct}
  trajectories = trajectories.replace(
    group_ids=trajectories.prompt_ids, trees=(), extras={name: extras[name] for name in buffered.extras}
  )
  return jax.tree.map(lambda old, new: new.astype(old.dtype), buffered, trajectories)
