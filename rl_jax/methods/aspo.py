"""ASPO: advantages shaped for earlier tool calls (arXiv 2508.19201).

Idea: correct responses should call the tool earlier. As a reward this is unstable: in a group of correct responses the
reward of 1 for correctness cancels, the rest is scaled to unit variance, and late calls get negative advantages. ASPO
adds a clipped bias to the advantage that correctness gives. With p_i the number of tokens before the first call of
response i, L_i its length, and means over E, the correct responses with a call in its group

  A_i = (r_i - mean_j r_j) / (std_j r_j + eps)
  A_i <- A_i + clip(delta (p_i - mean_E p) / mean_E L, -k |A_i|, k |A_i|)   for i in E            (eq. 2)

so that A_i keeps its sign for k < 1. There is no bias where A_i is 0, as in a group of correct responses. `shaping`:
  advantage: as above. "conservative" in the paper is delta = -2, k = 0.7, "aggressive" delta = -2.5, k = 0.9.
  reward: GRPO of r_i + delta clip((p_i - mean_E p) / std_E p, -c, c) for i in E (eq. 1), the unstable baseline, with
    `reward_delta` and `reward_clip`, whose values the paper does not give.

The paper runs DAPO. Here it is DAPO's loss (upper clip 0.28, mean over tokens) without its dynamic sampling, which
drops the groups on which the two forms differ most. Inferred: |A_i| in the bounds (A_i in the paper, the same for
correct responses), p and L in sampled tokens, no loss on tool output, ddof and eps of eq. 1.

Metrics: those of policy_gradient.py, and
  calls: share of scored rows with a call.
  first_call: p over those rows.
  shaped: share of scored rows whose advantage the shaping changed.
  wronged: share of correct rows with a negative advantage.
Config: experiments/aspo.py, on rl_jax/tasks/calls.py.
Source: paper; bound and lengths inferred.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import DECAY, FINITE, POSITIVE
from rl_jax.kernels.advantages import group
from rl_jax.kernels.advantages.shaping import aspo, early_tool_reward
from rl_jax.kernels.reductions import masked_mean
from rl_jax.methods import grpo, policy_gradient
from rl_jax.methods.method import Method, Signal, check_answers, one_of
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The paper's conservative options."""
  return policy_gradient.get_config() | {
    "shaping": "advantage",
    "delta": -2.0,  # below 0 early calls gain; 0: GRPO
    "strength": 0.7,  # k
    "reward_delta": -0.5,
    "reward_clip": 1.0,  # c
    "clip_low": 0.2,
    "clip_high": 0.28,
    "ddof": 1,
    "epsilon": 1e-6,
  }


RANGES = grpo.RANGES | {"delta": FINITE, "strength": DECAY, "reward_delta": FINITE, "reward_clip": POSITIVE}


def build(config: ConfigDict, task: Task) -> Method:
  """ASPO from its section of a config."""
  check_answers(config)
  m = config.method
  one_of(m, "shaping", ("advantage", "reward"))

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    ids, scored, correct = trajectories.group_ids, trajectories.scored, trajectories.correct
    positions = trajectories.extras["first_call"]
    called, options = positions >= 0, {"ddof": m.ddof, "eps": m.epsilon}
    plain = group.grpo(trajectories.rewards, ids, scored, **options, singleton="zero")
    if m.shaping == "advantage":
      numbers = {"delta": m.delta, "strength": m.strength}
      shaped = aspo(plain, correct, called, positions, trajectories.response_lengths, ids, scored, **numbers).advantages
    else:
      numbers = {"delta": m.reward_delta, "clip": m.reward_clip}
      rewards = early_tool_reward(correct, called, positions, ids, scored, **numbers, **options)
      shaped = group.grpo(rewards, ids, scored, **options, singleton="zero")
    metrics = {
      "calls": masked_mean(called, scored),
      "first_call": masked_mean(positions, scored & called),
      "shaped": masked_mean(jnp.abs(shaped - plain) > 1e-6, scored),
      "wronged": masked_mean(shaped < 0, correct),
    }
    return Signal({"policy": policy_gradient.token_stream(trajectories, shaped)}, metrics)

  return policy_gradient.method(config, task, signal, papers=("2508.19201",), requires=("first_call",))
