"""DUMP: a bandit over difficulty levels (arXiv 2504.09710).

Idea: a problem teaches most when the policy is right about half of the time, which is when the |A| of GRPO is largest.
The difficulty levels of the task are arms of a bandit, whose pay-off is the mean |A| of recent responses. GRPO itself
is unchanged.

  L_j = mean |A| over the last W responses of level j, n_j = responses ever seen of it, n = sum_j n_j   (section 3)
  UCB_j = L_j + sqrt(2 ln(n + 1) / (n_j + 1)),  P = softmax(UCB / tau)                                   (section 3)

Each problem of an iteration has a level drawn from P and is then uniform within it. The loss is not corrected for the
mixture. With W = 300 and hundreds of responses per iteration, the window holds only the last iteration.

Metrics: those of policy_gradient.py, and share/<level>, the share of rows of a level.
Config: experiments/dump.py. Result: on six levels of chains, 5 seeds and 160,000 tokens each, accuracy over all levels
0.482 [0.444, 0.498] against 0.443 [0.434, 0.477] of uniform draws: undecided (experiments/results/curriculum.md).
Source: paper and code.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.curricula.bandit import bandit
from rl_jax.inputs.ranges import COUNT, NOT_NEGATIVE
from rl_jax.kernels.reductions import masked_mean
from rl_jax.methods import grpo
from rl_jax.methods.method import Method, Signal
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """GRPO as in the code (mean over tokens, small KL and entropy terms), and the paper's bandit."""
  return grpo.get_config() | {
    "aggregation": "token_mean",
    "kl_coefficient": 0.001,
    "entropy_coefficient": 0.001,
    "window": 300,  # number of remembered responses per level
    "tau": 0.1,  # 0: always the best level
    "exploration": 1.0,  # weight of the bonus
  }


RANGES = grpo.RANGES | {"window": COUNT, "tau": NOT_NEGATIVE, "exploration": NOT_NEGATIVE}


def build(config: ConfigDict, task: Task) -> Method:
  """DUMP from its section of a config. Raises ValueError for options."""
  m = config.method
  if m.curriculum != "uniform":
    raise ValueError(f"method.curriculum={m.curriculum!r}: it draws its problems itself, leave 'uniform'")
  base = grpo.build(config, task)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    of = lambda level: (trajectories.extras["levels"] == level).astype(jnp.float32)
    shares = {f"share/{name}": masked_mean(of(i), trajectories.row_mask) for i, name in enumerate(task.levels)}
    of_base = base.signal(trajectories, iteration)
    return of_base._replace(metrics=of_base.metrics | shares)

  arms = bandit(
    task,
    config.prompts_per_iteration,
    config.completions_per_prompt,
    window=m.window,
    tau=m.tau,
    exploration=m.exploration,
  )
  return dataclasses.replace(base, curriculum=arms, signal=signal, papers=("2504.09710", *base.papers))
