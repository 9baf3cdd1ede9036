"""Checklists of a batch: progress on their items, and advantages assigned to trajectories, turns or steps.

The S steps are the turns of the task, and the L turns of the dialogue are its rounds; there are C items. See cm2.py.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from ml_collections import ConfigDict

from rl_jax.kernels.advantages.checklist import cm2_step, cm2_turn
from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.reductions import per_token
from rl_jax.kernels.rewards.checklist import (
  ChecklistProgress,
  checklist_progress,
  checklist_trajectory_reward,
  checklist_turn_rewards,
)
from rl_jax.kernels.segments import on_tokens, segment_lengths
from rl_jax.trajectories import Trajectories

READ = ("judge", "item_needs", "item_rounds", "rounds", "item_weights")
"""Extras of a task with checklists."""


class Checklists(NamedTuple):
  """Progress on the checklists of a batch."""

  progress: ChecklistProgress
  rewards: Float[Array, "B L"]
  """Reward of each turn of the dialogue."""
  reference: Bool[Array, "B L"]
  """Turns of the reference dialogue, which are those with items."""
  step_turns: Int[Array, "B S"]
  steps: Bool[Array, "B S"]
  """Steps taken, in scored rows."""
  weights: Float[Array, "B C"]
  group_ids: Int[Array, " B"]
  scored: Bool[Array, " B"]


def worked_through(trajectories: Trajectories, max_steps: int) -> Checklists:
  """Progress on the items, and rewards of the dialogue's turns; there are at most as many turns as steps."""
  judge, needs, item_turns, step_turns, weights = (trajectories.extras[name] for name in READ)
  exists = lambda ids, mask: segment_lengths(ids, mask, num_segments=max_steps) > 0
  steps = exists(trajectories.turn_ids, trajectories.trained & trajectories.scored[:, None])
  progress = checklist_progress(judge, needs, item_turns, step_turns, steps)
  reference = exists(item_turns, item_turns >= 0)
  rewards = checklist_turn_rewards(progress.satisfied, weights, item_turns, reference)
  return Checklists(
    progress, rewards, reference, step_turns, steps, weights, trajectories.group_ids, trajectories.scored
  )


def of_trajectories(x: Checklists, m: ConfigDict) -> Float[Array, "B S"]:
  """Advantages of whole trajectories, given to their steps."""
  rewards = checklist_trajectory_reward(x.rewards, x.reference, x.scored)
  return per_token(grpo(rewards, x.group_ids, x.scored, scale=m.scale, eps=m.epsilon, singleton="zero"), x.steps)


def of_turns(x: Checklists, m: ConfigDict) -> Float[Array, "B S"]:
  """Advantages of the dialogue's turns, given to their steps."""
  reached = segment_lengths(x.step_turns, x.steps, num_segments=x.rewards.shape[1])
  options = {"scale": m.scale, "eps": m.epsilon, "min_count": m.min_count}
  return on_tokens(cm2_turn(x.rewards, reached, x.group_ids, x.scored, **options), x.step_turns, x.steps)


def of_steps(x: Checklists, m: ConfigDict) -> Float[Array, "B S"]:
  """Advantages of steps."""
  counted = BASELINES[m.baseline](x.progress.attempted) & x.scored[:, None]
  args = x.progress.eligible, x.progress.satisfied, x.weights, x.group_ids, counted, x.steps
  return cm2_step(*args, scale=m.scale, eps=m.epsilon, min_count=m.min_count).advantages


LEVELS = {"trajectory": of_trajectories, "turn": of_turns, "step": of_steps}
"""(checklists, options of the method) -> advantages [B, S]."""
BASELINES = {"all": jnp.ones_like, "attempted": lambda attempted: attempted}
"""Rows in the baseline of each item."""
