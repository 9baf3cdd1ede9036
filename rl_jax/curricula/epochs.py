"""Passes over the train split of a finite task, each in its own random order."""

from __future__ import annotations

from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt32

from rl_jax.curricula.curriculum import Curriculum, Plan


class Position(flax.struct.PyTreeNode):
  """Position in the passes over the problems, from which a resumed run continues."""

  root: UInt32[Array, " K"]
  """Raw data of the key for orders, since typed keys do not serialise."""
  epoch: Int[Array, ""]
  """Number of completed passes."""
  offset: Int[Array, ""]
  """Number of problems used in the current pass."""


def epochs(prompts: int, completions_per_prompt: int, part: Sequence[float] = (0.0, 1.0)) -> Curriculum:
  """`prompts` problems per iteration with `completions_per_prompt` responses each, every problem once per pass.

  Pass e has the order permutation(fold_in(key, e)), with the key of `init`. A plan may cross the end of a pass and does
  not use its own key. Each plan sorts the whole split: O(size log size).

  Args:
    part: shares of the split, by id, where its problems begin and end, for stages that learn from different problems.

  Raises: ValueError: the part is not two shares; with the first plan, the task has infinitely many problems, or none in
    this part.
  """
  if not isinstance(part, Sequence) or len(part) != 2:
    raise ValueError(f"the part {part!r} of the problems: want two shares, as (0.0, 0.6)")
  rows = prompts * completions_per_prompt

  def init(key):
    return Position(jax.random.key_data(key), jnp.int32(0), jnp.int32(0))

  def next_plan(state, task, key):
    if getattr(task, "sizes", None) is None:
      raise ValueError(
        "passes over all problems need a finite number of them: set task.pool_size where the task has it, or "
        "method.curriculum='uniform' where the method has it"
      )
    first, end = (round(share * task.sizes["train"]) for share in part)
    size = end - first
    if size < 1:
      raise ValueError(f"no problem in the part {part} of {task.sizes['train']}: shares rise, from 0 to 1")
    places = state.offset + jnp.arange(prompts)
    touched = 1 + (prompts + size - 2) // size  # passes that a plan can reach into, wherever it begins
    root = jax.random.wrap_key_data(state.root)
    order = lambda epoch: jax.random.permutation(jax.random.fold_in(root, epoch), size)
    orders = jax.lax.map(order, state.epoch + jnp.arange(touched))
    plan = Plan(
      prompt_ids=first + orders[places // size, places % size],
      row_mask=jnp.ones(rows, bool),
      response_limits=jnp.full(rows, task.response_tokens),
    )
    after = state.offset + prompts
    return plan, state.replace(epoch=state.epoch + after // size, offset=after % size)

  return Curriculum(init=init, next=next_plan, update=lambda state, trajectories, signal: state)
