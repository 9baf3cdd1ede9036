"""T-PPO's successive batching: every slot decodes a window of tokens per step, and finished ones take the next prompt.

Here only the schedule, for response lengths that are known: what a step decodes and how long that takes. `refill` is
the part that a sampler needs too.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


class Slots(NamedTuple):
  """Prompts that a step works on."""

  prompts: Int[Array, " B"]
  """Index of the prompt in each slot, -1 in an idle one."""
  next_prompt: Int[Array, ""]
  """First prompt that no slot has taken yet."""


class Schedule(NamedTuple):
  """Step by slot; the steps after the last one are idle."""

  prompts: Int[Array, "steps slots"]
  """-1 in idle slots, whose other fields are 0."""
  starts: Int[Array, "steps slots"]
  """Tokens that the response had before the step."""
  ends: Int[Array, "steps slots"]
  """Tokens that it has after the step."""
  finished: Bool[Array, "steps slots"]

  @property
  def num_steps(self) -> Int[Array, ""]:
    """Steps in which any slot decodes."""
    return (self.prompts >= 0).any(axis=1).sum(dtype=jnp.int32)

  @property
  def sequential_tokens(self) -> Int[Array, ""]:
    """Tokens decoded sequentially: the longest of each step, added up."""
    return (self.ends - self.starts).max(axis=1).sum(dtype=jnp.int32)


def refill(
  prompts: Int[Array, " B"], free: Bool[Array, " B"], next_prompt: Int[Array, ""], *, num_prompts: int
) -> Slots:
  """Free slots take prompts next_prompt, next_prompt + 1, ... in order of slot, and -1 after the last prompt.

  T-PPO, arXiv 2506.15050, successive batching. Other slots keep their prompt, so a slot's cache stays in place.

  >>> print(*refill(jnp.array([0, 1, 2]), jnp.array([True, False, True]), jnp.array(3), num_prompts=4))
  [ 3  1 -1] 4
  """
  candidates = next_prompt + jnp.cumsum(free, dtype=jnp.int32) - 1
  filled = jnp.where(free, jnp.where(candidates < num_prompts, candidates, -1), prompts)
  count = jnp.minimum(next_prompt + free.sum(dtype=jnp.int32), num_prompts)
  return Slots(filled.astype(jnp.int32), count.astype(jnp.int32))


def successive_batches(
  lengths: Int[Array, " N"], *, num_slots: int, window: int = 8192, max_length: int = 24576
) -> Schedule:
  """Each step: refill the free slots, then decode min(window, rest) tokens in every slot, until all N are done.

  T-PPO, arXiv 2506.15050, where 8k of 24k tokens are decoded per step. `lengths` are those of whole responses; one that
  reaches `max_length` is finished there. An empty response still takes a slot for a step.

  >>> schedule = successive_batches(jnp.array([3, 10, 2]), num_slots=2, window=4, max_length=9)
  >>> print(schedule.prompts[:3], schedule.ends[:3], schedule.num_steps, schedule.sequential_tokens)
  [[ 0  1]
   [ 2  1]
   [-1  1]] [[3 4]
   [2 8]
   [0 9]] 3 9
  """
  if min(num_slots, window, max_length) < 1:
    raise ValueError(
      f"successive_batches: sizes start at 1, got num_slots {num_slots}, window {window}, max_length {max_length}"
    )
  prompts, longest = lengths.shape[0], -(-max_length // window)
  lengths = jnp.minimum(lengths, max_length).astype(jnp.int32)

  def step(state, _):
    slots, ends, free = state
    slots = refill(slots.prompts, free, slots.next_prompt, num_prompts=prompts)
    active = slots.prompts >= 0
    starts = jnp.where(free, 0, ends)
    full = jnp.where(active, lengths[jnp.where(active, slots.prompts, 0)], 0)
    ends = jnp.minimum(starts + window, full)
    finished = active & (ends == full)
    return (slots, ends, finished | ~active), Schedule(slots.prompts, starts, ends, finished)

  idle = jnp.zeros(num_slots, jnp.int32)
  start = Slots(idle - 1, jnp.zeros((), jnp.int32)), idle, jnp.ones(num_slots, bool)
  # While a prompt waits every slot is busy, so it starts after at most (N - 1) longest / slots steps (Graham's bound).
  bound = (prompts - 1) * longest // num_slots + longest
  return jax.lax.scan(step, start, length=bound)[1]


def synchronous_tokens(lengths: Int[Array, " N"], *, num_slots: int, max_length: int = 24576) -> Int[Array, ""]:
  """Tokens decoded one after the other without successive batching: the longest of every num_slots responses, added up.

  T-PPO, arXiv 2506.15050: the baseline of `Schedule.sequential_tokens`.

  >>> print(synchronous_tokens(jnp.array([3, 10, 2]), num_slots=2, max_length=9))
  11
  """
  lengths = jnp.pad(jnp.minimum(lengths, max_length).astype(jnp.int32), (0, -lengths.shape[0] % num_slots))
  return lengths.reshape(-1, num_slots).max(axis=1).sum(dtype=jnp.int32)
