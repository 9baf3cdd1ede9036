"""All phases of one iteration of a rollout, on the train split."""

from __future__ import annotations

import functools

import jax

from rl_jax.rollouts.rollout import RolloutResult, collect


def collected(rollout, models, state, plan, task, key) -> RolloutResult:
  """Every phase draws with its own key, folded from `key`."""
  return collect(rollout, models, state, plan, task, "train", functools.partial(jax.random.fold_in, key))
