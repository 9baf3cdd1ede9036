"""IGPO: information gain of turns with a tool (arXiv 2510.14967).

Idea: in an episode of many turns, the policy's belief in the right answer, measured by forcing it after every turn,
shows the worth of that turn. A group in which every episode fails thus still has a gradient.

  log pi_t = mean_j log p(a_j | prompt, first t turns with their observations, opening, a_<j)
  r_t = pi_t - pi_{t-1},  and of the last turn the reward of the episode instead
  x = (r - mean) / std over all turn rewards of the prompt's group
  A_t = sum_{k >= t} gamma^(k-t) x_k over turns, on every token of the policy in turn t

The loss is GRPO's, over sampled tokens only: tool output has no advantage and no weight. With gain
"prob_diff", discount 1 and no normalisation the gains of an episode sum to pi_{T-1} - pi_0. The authors' later release
has gain "log_prob_diff" and normalization "separate". Not in the paper: the ddof of std (0), the mean over tokens.

Metrics: those of policy_gradient.py, and
  information_gain: r_t, mean over the turns that are not the last of their episode.
  zero_advantage: share of trained tokens whose advantage is 0.
Config: experiments/igpo.py, with experiments/grpo_lookup.py for comparison. Result: experiments/results/turns.md.
Source: summaries and official code; std inferred.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import COUNT, SHARE
from rl_jax.kernels.advantages import turn
from rl_jax.kernels.reductions import aggregate
from rl_jax.kernels.rewards.information_gain import curriculum_weights, information_gain_rewards, log_beliefs
from rl_jax.kernels.segments import last_token, on_tokens, segment_ends
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Method, Signal, one_of
from rl_jax.rollouts.probes import probed, required_forced_answer
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.rollouts.turns import required_turns, turn_starts
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

READ = ("probe_mask", "probe_answer_logprobs", "probe_answer_mask")
"""Extras of its rollout."""


def get_config() -> dict[str, Any]:
  """The paper's options."""
  return policy_gradient.get_config() | {
    "aggregation": "sequence_mean_token_mean",
    "dual_clip": 3.0,
    "kl_coefficient": 0.001,
    "gain": "prob_diff",  # or "log_prob_diff"
    "normalization": "joint",  # one mean and std per group; or "separate" ones for gains and outcomes
    "scale": True,  # False: no division by the std
    "discount": 1.0,  # per turn
    "curriculum_iterations": None,  # iterations over which outcomes go from weight 0.5 to 1, gains from 1 to 0.5
  }


RANGES = {"discount": SHARE, "curriculum_iterations": COUNT.optional()}


def build(config: ConfigDict, task: Task) -> Method:
  """IGPO from its section of a config."""
  m = config.method
  one_of(m, "gain", ("prob_diff", "log_prob_diff"))
  one_of(m, "normalization", ("joint", "separate"))
  required_turns(task)
  required_forced_answer(task)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    extras = trajectories.extras
    exists = extras["probe_mask"] & trajectories.scored[:, None]
    beliefs = log_beliefs(extras["probe_answer_logprobs"], exists, extras["probe_answer_mask"])
    rewards = information_gain_rewards(beliefs, trajectories.rewards, exists, gain=m.gain)
    options = {"mode": m.normalization, "scale": m.scale, "discount": m.discount}
    if m.curriculum_iterations:
      weights = curriculum_weights(iteration / m.curriculum_iterations)
      options |= {"outcome_weight": weights.outcome, "gain_weight": weights.gain}
    advantages = turn.igpo(rewards, trajectories.group_ids, exists, **options)
    on_turns = lambda x: on_tokens(x, trajectories.turn_ids, trajectories.trained)
    stream = policy_gradient.token_stream(trajectories, on_turns(advantages))
    ends = segment_ends(trajectories.turn_ids, stream.weights) & (on_turns(exists & ~last_token(exists)) != 0)
    mean = lambda x, weights: aggregate(x, weights, mode="token_mean")
    metrics = {
      "information_gain": mean(on_turns(rewards), ends.astype(jnp.float32)),
      "zero_advantage": mean((stream.targets == 0).astype(jnp.float32), stream.weights),
    }
    return Signal({"policy": stream}, metrics)

  respond, sampling = policy_gradient.independent(config, task), sampling_from(config)
  rollout = probed(task, respond, turn_starts, samples=0, max_tokens=1, sampling=sampling)
  return policy_gradient.method(config, task, signal, papers=("2510.14967",), requires=READ, rollout=rollout)
