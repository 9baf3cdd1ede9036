"""Response limits that follow a schedule, on top of any curriculum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Int

from rl_jax.curricula.curriculum import Curriculum


class Progress(flax.struct.PyTreeNode):
  """Number of plans made, and the state of the base curriculum."""

  iteration: Int[Array, ""]
  base: Any


def length_limits(base: Curriculum, limit: Callable[[Int[Array, ""]], int | Int[Array, ""]]) -> Curriculum:
  """Plans of `base`, with responses cut after limit(iteration) tokens if its own limits are higher.

  Evaluations ignore the curriculum: they answer held-out problems with all response tokens of the task.

  Args:
    limit: number of completed iterations -> tokens.
  """

  def next_plan(state, task, key):
    plan, of_base = base.next(state.base, task, key)
    limits = jnp.minimum(plan.response_limits, limit(state.iteration))
    return plan.replace(response_limits=limits), Progress(state.iteration + 1, of_base)

  def update(state, trajectories, signal):
    return state.replace(base=base.update(state.base, trajectories, signal))

  return base._replace(init=lambda key: Progress(jnp.int32(0), base.init(key)), next=next_plan, update=update)
