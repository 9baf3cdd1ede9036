"""Values of the parts of responses: rewards of copies whose other parts are blanked.

A response is cut into units, contiguous runs of its tokens. The value of a set of units is the verifier's reward of a
copy of the row in which every token of the other units is replaced by the task's blank token. The value of all units is
the reward of the row itself. The copies are scored together by the task's own verifier and then dropped; nothing is
generated. All coalitions of S units take 2^S - 1 copies of each row, in memory at once: use few units, or random orders
(coalitions.py).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from rl_jax.kernels.reductions import densify
from rl_jax.kernels.segments import segment_ends
from rl_jax.rollouts.coalitions import Coalitions
from rl_jax.rollouts.continuation import concatenate
from rl_jax.rollouts.rollout import PhaseResult, Rollout, nothing_new, unasked
from rl_jax.rollouts.step_values import required_steps
from rl_jax.tasks.task import ExtraSpec, Task
from rl_jax.trajectories import Trajectories

SPANS = {
  "steps": lambda rows: segment_ends(rows.step_ids, rows.trained),
  "tokens": lambda rows: rows.trained,
}
"""trajectories -> [B, T], True on the last token of each span: the steps of the verifier, or every token."""
EMPTY = ("fixed", "blanks")
"""The response without any unit: one that ends at once, the same for all rows of a prompt; or blanks of the row's own
length."""


def unit_ids(ends: Bool[Array, "B T"], mask: Bool[Array, "B T"], max_units: int) -> Int[Array, "B T"]:
  """The unit of each unmasked token, -1 elsewhere: one unit per span, or `max_units` units of adjacent spans if there
  are more spans.

  A token outside the spans belongs to the next span, or to the last one if no span follows. A row without a span is one
  unit.

  Args:
    ends: last tokens of spans.
  """
  ends &= mask
  count = ends.sum(axis=1, keepdims=True)
  spans = jnp.minimum(jnp.cumsum(ends, axis=1) - ends, jnp.maximum(count - 1, 0))
  merged = jnp.where(count > max_units, spans * max_units // jnp.maximum(count, 1), spans)
  return jnp.where(mask, merged, -1)


def blank_of(task: Task, token: int | None = None) -> int:
  """The token that replaces others: `token`, or the task's own.

  Raises: ValueError: there is no such token, it is not in the vocabulary, or responses have several turns.
  """
  blank, size = task.blank_token if token is None else token, len(task.vocabulary)
  if blank is None:
    raise ValueError(
      "parts of responses are blanked, but this task has no `blank_token`: name one, or take another task"
    )
  if not 0 <= blank < size:
    raise ValueError(f"the blank token {blank} is outside the task's vocabulary: want an id from 0 to {size - 1}")
  if task.turns is not None:
    raise ValueError("responses of several turns are not blanked: take a task whose responses are one piece")
  return blank


def blanked(
  task: Task,
  rollout: Rollout,
  coalitions: Coalitions,
  units: int,
  *,
  spans: str = "steps",
  empty: str = "fixed",
  token: int | None = None,
) -> Rollout:
  """A rollout whose rows have values of their units: extras of the coalitions, and `unit_ids` [B, T], `unit_mask`
  [B, S], `empty_values` [B] and `valued` [B].

  Args:
    units: S, largest number of units of a row.
    spans: spans that units are made of, see `SPANS`.
    empty: see `EMPTY`.
    token: the blank token, see `blank_of`.

  Raises: ValueError: see `blank_of` and, with spans of steps, `required_steps`.
  """
  blank = blank_of(task, token)
  if spans == "steps":
    required_steps(task, "spans are made")

  def copied(models, state, plan, prompts, before, key):
    ids, usable = unit_ids(SPANS[spans](before), before.trained, units), before.scored
    exists = (ids[:, :, None] == jnp.arange(units)).any(axis=1)
    sources = _first_rows(before) if empty == "fixed" else jnp.arange(len(usable))
    extras = {"unit_ids": ids, "unit_mask": exists, "empty_sources": sources, **coalitions.draw(exists, key)}
    before = before.with_extras(**extras)

    blanks = before.replace(tokens=jnp.where(ids >= 0, blank, before.tokens))
    no_unit = _ended(before, task) if empty == "fixed" else blanks
    without = _copies(no_unit, usable & (sources == jnp.arange(len(usable))))

    members = coalitions.members(exists, before.extras)
    kept = jnp.take_along_axis(members, jnp.maximum(ids, 0)[:, None], axis=2) | (ids < 0)[:, None]
    tokens = jnp.where(kept, before.tokens[:, None], blank).reshape(-1, ids.shape[1])
    asked = usable[:, None] & ~_all_units(members, exists) & ~(members & ~exists[:, None]).any(axis=2)
    owners = jnp.repeat(jnp.arange(len(usable)), coalitions.size)
    parts = _copies(before.rows(owners).replace(tokens=tokens), asked.ravel())
    verify = jnp.concatenate([nothing_new(before), unasked(without), unasked(parts)])
    return PhaseResult(state, concatenate(before, without, parts), verify, jnp.int32(0))

  def reduced(models, state, plan, prompts, before, key):
    rows = before.tokens.shape[0] // (2 + coalitions.size)
    originals = before.first(rows)
    extras: dict[str, Any] = dict(originals.extras)
    sources, exists = extras.pop("empty_sources"), extras["unit_mask"]
    of_empty = lambda x: x[rows : 2 * rows][sources]
    of_parts = lambda x: x[2 * rows :].reshape(rows, coalitions.size)

    rewards = jnp.where(before.scored, before.rewards, 0.0)
    none, every = of_empty(rewards), rewards[:rows]
    some = jnp.where(_all_units(coalitions.members(exists, extras), exists), every[:, None], of_parts(rewards))
    known = of_parts(before.scored | ~before.row_mask).all(axis=1) & of_empty(before.scored)
    extras |= coalitions.values(none, some, every) | {"empty_values": none, "valued": originals.scored & known}
    originals = originals.replace(extras=extras)
    return PhaseResult(state, originals, nothing_new(originals), jnp.int32(0))

  provides = {
    "unit_ids": ExtraSpec(("T",), "int32", "unit of each token that the policy wrote, -1 on others"),
    "unit_mask": ExtraSpec((units,), "bool", "units that there are"),
    "empty_values": ExtraSpec((), "float32", "value of no unit"),
    "valued": ExtraSpec((), "bool", "the row has a verdict, and so have all copies of it that were asked about"),
  }
  return dataclasses.replace(
    rollout,
    phases=(*rollout.phases, copied, reduced),
    provides={**rollout.provides, **provides, **coalitions.provides},
  )


def _all_units(members: Bool[Array, "B C S"], exists: Bool[Array, "B S"]) -> Bool[Array, "B C"]:
  """Coalitions with all units; their copy is the row itself."""
  return (members | ~exists[:, None]).all(axis=2)


def _first_rows(trajectories: Trajectories) -> Int[Array, " B"]:
  """Index of the first scored row of each row's prompt, or of any row if none is scored."""
  scored, ids = trajectories.scored, densify(trajectories.prompt_ids)
  order = jnp.where(scored, jnp.arange(len(scored)), len(scored) - 1)
  return jax.ops.segment_min(order, ids, num_segments=len(scored))[ids]


def _ended(rows: Trajectories, task: Task) -> Trajectories:
  """The rows with responses replaced by ones that end at once."""
  slots = jnp.arange(rows.tokens.shape[1])
  is_end, is_prompt = slots == rows.prompt_width, slots < rows.prompt_width
  of_response = jnp.where(is_end, task.vocabulary.end_id, task.vocabulary.pad_id)
  return rows.replace(
    tokens=jnp.where(is_prompt, rows.tokens, of_response),
    attention_mask=jnp.where(is_prompt, rows.attention_mask, is_end),
  )


def _copies(rows: Trajectories, asked: Bool[Array, " M"]) -> Trajectories:
  """Unscored rows as the verifier is to see them; rows that are not asked about are not in use."""
  no = jnp.zeros_like(asked)
  return rows.replace(row_mask=asked, verified=no, reward_mask=no, extras={}, trees=())
