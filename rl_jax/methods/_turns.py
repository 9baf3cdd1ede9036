"""Turns of a batch: which of them exist, and the reward of each."""

from __future__ import annotations

from jaxtyping import Array, Bool, Float

from rl_jax.kernels.segments import segment_sum
from rl_jax.methods._token_rewards import token_rewards
from rl_jax.rollouts.turns import required_turns, turn_starts
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def scored_turns(task: Task, trajectories: Trajectories) -> Bool[Array, "B K"]:
  """True for the turns that exist in scored rows."""
  return turn_starts(task, trajectories)[1] & trajectories.scored[:, None]


def turn_rewards(task: Task, trajectories: Trajectories) -> Float[Array, "B K"]:
  """Rewards of turns, which add up to the row's reward; the part that no turn has earned goes to the last turn."""
  rewards = token_rewards(trajectories)
  turns = required_turns(task).max_turns
  return segment_sum(rewards, trajectories.turn_ids, trajectories.trained, num_segments=turns)
