"""SLATE: candidates of every step from one shared prefix (arXiv 2602.23440).

Idea: comparing whole trajectories mixes the luck of all T steps into the advantage of each. Here k candidates for the
next step continue one prefix, each is judged at once, and they are compared only with each other. All k are trained on,
and one is committed to and extends the prefix. The variance from one step's reward is up to T times smaller.

  r_j = reward of step j, plus lambda (B - t) / B if it answers, step t = 1..B, budget B                       (eq. 3)
  A_j = (r_j - mean) / (std + eps) within the k candidates                                                     (eq. 4)
  P(j) = softmax_j(A_j / eta), from which the committed candidate is drawn                                     (eq. 5)
  loss = mean over visited steps and candidates of 1/|a_j| sum_t [ -min(rho_t A_j, clip(rho_t) A_j) + beta k3_t ]

The price is that a step is judged only by its own reward: a step that pays now but harms later steps is preferred.

A step is a turn of a task with turns, B their largest number, and `completions_per_prompt` is k. The paper's judge
gives two scores; here the verifier's reward of the episode up to the turn replaces them, and candidates of one prefix
differ in it only by the turn's reward. Answers that solve the problem get the bonus. The step index starts at 1 as in
the paper; the authors' code counts from 0. Inferred: ratios per token, k3 per token, the mean over steps (the authors'
sum divided by the number of steps), and equal weights for candidates if some of a prefix are unscored. An episode that
uses up its budget ends; the authors force an answer.

Rows are candidates, and most are not part of any episode: read the held-out metrics, which are of whole episodes.

Metrics: those of policy_gradient.py, and
  steps_per_prompt: number of visited steps.
Config: experiments/slate.py, with experiments/grpo_decisions.py for comparison.
Source: authors' code; loss inferred.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import FINITE, NOT_NEGATIVE
from rl_jax.kernels.advantages.candidates import candidate_weights, slate
from rl_jax.kernels.reductions import Mean
from rl_jax.kernels.rewards.judged_step import judged_step_reward
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Method, Signal, check_answers
from rl_jax.rollouts.candidates import candidates
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.rollouts.turns import required_turns
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The paper's options; its k is 5."""
  return policy_gradient.get_config() | {
    "aggregation": "sequence_mean_token_mean",
    "kl_coefficient": 0.001,
    "commit_temperature": 0.7,  # eta; 0: the candidate with the highest advantage
    "early_bonus": 0.1,  # lambda
    "epsilon": 1e-6,
  }


RANGES = {"commit_temperature": NOT_NEGATIVE, "early_bonus": FINITE, "epsilon": NOT_NEGATIVE}


def build(config: ConfigDict, task: Task) -> Method:
  """SLATE from its section of a config. Raises ValueError for a task without turns."""
  check_answers(config)
  m, budget = config.method, required_turns(task).max_turns

  def advantages(rows: Trajectories) -> Float[Array, " B"]:
    steps, unjudged = rows.extras["turns"] + 1, jnp.zeros_like(rows.rewards)
    scores = unjudged, rows.rewards, rows.correct, steps, rows.scored
    rewards = judged_step_reward(*scores, budget=budget, bonus=m.early_bonus)
    return slate(rewards, rows.group_ids, rows.scored, eps=m.epsilon)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    visited = candidate_weights(trajectories.group_ids, trajectories.row_mask)
    begun = jnp.where(trajectories.extras["turns"] == 0, visited, 0.0)
    stream = policy_gradient.token_stream(trajectories, advantages(trajectories))
    return Signal({"policy": stream}, {"steps_per_prompt": Mean(visited.sum(), begun.sum())})

  rollout = candidates(
    task, config.completions_per_prompt, advantages, temperature=m.commit_temperature, sampling=sampling_from(config)
  )
  return policy_gradient.method(config, task, signal, papers=("2602.23440",), requires=("turns",), rollout=rollout)
