"""Advantages against what each level of the task has earned so far, kept from one iteration to the next."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float

from rl_jax.kernels.advantages.role import rae
from rl_jax.rollouts.rollout import PhaseResult, Rollout, nothing_new
from rl_jax.tasks.task import ExtraSpec


class RoleState(flax.struct.PyTreeNode):
  """State of the rollout that makes rows, and the baseline of each role."""

  rollout: Any
  baselines: Float[Array, " K"]


def with_role_baselines(rollout: Rollout, roles: int, *, decay: float) -> Rollout:
  """The rollout, and the extra `role_advantages` [B] of its rows: r - b, b a running mean of the role's rewards.

  Roles are the levels of the task; see the kernel `rae`. Baselines start at 0.
  """

  def within(phase):
    def run(models, state, plan, prompts, before, key):
      result = phase(models, state.rollout, plan, prompts, before, key)
      return result._replace(state=state.replace(rollout=result.state))

    return run

  def compare(models, state, plan, prompts, rows, key):
    estimate = rae(rows.rewards, rows.extras["levels"], rows.scored, state.baselines, decay=decay)
    compared = rows.with_extras(role_advantages=estimate.advantages)
    return PhaseResult(state.replace(baselines=estimate.baselines), compared, nothing_new(rows), jnp.int32(0))

  own = {"role_advantages": ExtraSpec((), "float32", "reward less what its level has earned so far")}
  return dataclasses.replace(
    rollout,
    phases=(*map(within, rollout.phases), compare),
    provides={**rollout.provides, **own},
    init=lambda key: RoleState(rollout.init(key), jnp.zeros(roles)),
  )
