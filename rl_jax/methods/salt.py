"""SALT: step advantages from a graph of the trajectories of a prompt (arXiv 2510.20022).

Idea: episodes of one prompt share a step if they go from the same state to the same next state by the same action. Its
advantage is the mean over the episodes that took it. If all episodes take a step, its advantage is near 0, so training
concentrates on the steps that distinguish good episodes from bad ones:

  A_i = (R_i - mean_j R_j) / (std_j R_j + eps), as in GRPO, or as in RLOO
  A(i, t) = mean of A_j over all steps (j, t') of the prompt's episodes with the same state, action and next state

on all tokens of the turn. A step that no other episode takes keeps A_i, so without recurring states this is GRPO.
Neither rollout nor loss changes. A policy that reads only the state gets GRPO's gradient if all tokens weigh alike, as
means do not change sums. The environment identifies states (`state_ids`); a turn whose state has no id keeps A_i.

The rule is known from the appendix of a later paper. Inferred: each repetition of a loop counts; advantages are not
normalised again; actions are equal if their tokens are; and `history`, the number of earlier steps that must be equal
too.

Metrics: those of policy_gradient.py, and
  merged_turns: share of turns whose step is taken more than once.
  moved_advantage: |A(i, t) - A_i|, mean over turns.
Config: experiments/salt.py, on rl_jax/tasks/environments/rooms.py.
Source: second hand; loops, actions and history inferred.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import NOT_NEGATIVE, WHOLE, Range
from rl_jax.kernels.advantages import graph, group
from rl_jax.kernels.reductions import masked_mean, per_token
from rl_jax.kernels.segments import on_tokens, segment_lengths
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Method, Signal, check_answers, one_of
from rl_jax.rollouts.turns import required_turns, turn_hashes
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """GRPO's options; those of the paper are not known."""
  return policy_gradient.get_config() | {
    "aggregation": "sequence_mean_token_mean",
    "kl_coefficient": 0.04,
    "estimator": "grpo",  # of whole episodes; or "rloo"
    "ddof": 1,  # of "grpo", as "epsilon"
    "epsilon": 1e-6,
    "history": 0,  # number of earlier steps that must be the same too
  }


ESTIMATORS = {
  "grpo": lambda m, *rows: group.grpo(*rows, ddof=m.ddof, eps=m.epsilon, singleton="zero"),
  "rloo": lambda m, *rows: group.rloo(*rows, singleton="zero"),
}
RANGES = {"ddof": Range(0, 1, whole=True), "epsilon": NOT_NEGATIVE, "history": WHOLE}


def build(config: ConfigDict, task: Task) -> Method:
  """SALT from its section of a config. Raises ValueError for a task without turns."""
  check_answers(config)
  m, turns = config.method, required_turns(task).max_turns
  estimator, history = ESTIMATORS[one_of(m, "estimator", ESTIMATORS)], min(m.history, turns)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    ids, scored = trajectories.group_ids, trajectories.scored
    whole = estimator(m, trajectories.rewards, ids, scored)
    states = trajectories.extras["state_ids"]
    before, after = states[:, :-1], states[:, 1:]
    exists = segment_lengths(trajectories.turn_ids, trajectories.trained, num_segments=turns) > 0
    exists &= scored[:, None]
    named = exists & (before >= 0) & (after >= 0)
    edges = graph.salt(whole, ids, before, turn_hashes(task, trajectories), after, named, history=history)
    advantages = jnp.where(named, edges.advantages, per_token(whole, exists))
    tokens = on_tokens(advantages, trajectories.turn_ids, trajectories.trained)
    metrics = {
      "merged_turns": masked_mean(edges.counts > 1, exists),
      "moved_advantage": masked_mean(jnp.abs(advantages - whole[:, None]), exists),
    }
    return Signal({"policy": policy_gradient.token_stream(trajectories, tokens)}, metrics)

  return policy_gradient.method(config, task, signal, papers=("2510.20022",), requires=("state_ids",))
