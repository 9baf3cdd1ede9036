"""The role `curriculum`: which prompts, how many samples, how long."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
from jaxtyping import Array, Bool, Int, PRNGKeyArray


@flax.struct.dataclass
class Plan:
  """Plan of the samples of one iteration. Sizes are static capacities; limits and masks are data.

  N prompts have B = N * completions_per_prompt rows; the rows of a prompt are adjacent.
  """

  prompt_ids: Int[Array, " N"]
  row_mask: Bool[Array, " B"]
  """False on unused rows of the capacity."""
  response_limits: Int[Array, " B"]
  """Length at which a response is cut."""
  extras: dict[str, Array] = dataclasses.field(default_factory=dict)
  """Further inputs of the method's rollout: named arrays with leading axis N, such as hint ratios, priors or modes."""


class Curriculum(NamedTuple):
  """Pure functions over the curriculum's own state, which the trainer carries and saves."""

  init: Callable[[PRNGKeyArray], Any]
  """key -> state"""
  next: Callable[..., tuple[Plan, Any]]
  """(state, task, key) -> (plan, state)"""
  update: Callable[..., Any]
  """(state, trajectories, signal) -> state, with the rewards and advantages of the plan's rows"""
  requires: tuple[str, ...] = ()
  """Extras of the trajectories that `update` reads: see `Method.requires`."""
