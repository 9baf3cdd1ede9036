"""Metrics of a batch of trajectories, common to all methods."""

from __future__ import annotations

import jax.numpy as jnp

from rl_jax.kernels.curricula.filters import informative_groups
from rl_jax.kernels.reductions import Mean
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def describe(task: Task, trajectories: Trajectories) -> dict[str, Mean]:
  """Rewards, accuracy and lengths, overall and per level; means of the parts of a reward as part/<name>; the longest
  row, which is the critical path of an iteration that samples all rows at once."""
  rows, scored = trajectories.row_mask, trajectories.scored
  share = lambda x, of: Mean(jnp.sum(jnp.where(of, x, 0.0), dtype=jnp.float32), of.sum().astype(jnp.float32))
  informative = informative_groups(trajectories.rewards, trajectories.group_ids, scored)
  longest = jnp.max(trajectories.trained.sum(axis=1), initial=0).astype(jnp.float32)
  metrics = {
    "reward": share(trajectories.rewards, scored),
    "accuracy": share(trajectories.correct, scored),
    "response_length": share(trajectories.response_lengths, rows),
    "sequential_tokens": Mean(longest, jnp.float32(1.0)),
    "truncated": share(trajectories.truncated, rows),
    "unscored": share(~scored, rows),
    "zero_spread_rows": share(~informative, scored),
    **{name: share(values, rows) for name, values in trajectories.extras.items() if name.startswith("part/")},
  }
  for index, name in enumerate(task.objectives):
    metrics[f"part/{name}"] = share(trajectories.objectives[:, index], rows)
  for index, level in enumerate(task.levels):
    metrics[f"reward/{level}"] = share(trajectories.rewards, scored & (trajectories.extras["levels"] == index))
  return metrics
