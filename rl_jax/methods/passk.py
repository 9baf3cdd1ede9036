"""Pass@k training: the best of k answers is what counts (arXiv 2503.19595, 2505.15201).

Idea: where k answers to a prompt may be tried, their largest reward is the objective, and an answer is worth what the k
would lose without it:

  A_i = mean over the sets S of k answers that hold i of (max_S r - max_{S without i} r)

With k the whole group only the best answer has an advantage, by what it is ahead of the second (the first paper, verl's
grpo_passk). A smaller k, of the second paper, has more answers with an advantage and trades pass@1 for pass@k by less.
All advantages are 0 or above. `scale` "group" divides by the group's std, verl's default, which no paper does.

Metrics: those of policy_gradient.py, and
  advantaged: share of scored rows with an advantage.
Config: experiments/passk.py.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import Range
from rl_jax.kernels.advantages.best_of_k import pass_at_k
from rl_jax.kernels.reductions import masked_mean
from rl_jax.methods import grpo, policy_gradient
from rl_jax.methods.method import Method, Signal, check_answers, one_of
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The first paper's estimator: k the answers to a prompt."""
  return policy_gradient.get_config() | {
    "k": None,  # None: completions_per_prompt
    "scale": "none",  # or "group"
    "ddof": 1,  # of the std
    "epsilon": 1e-6,
  }


RANGES = grpo.RANGES | {"k": Range(2, 2**31 - 1, whole=True).optional()}


def build(config: ConfigDict, task: Task) -> Method:
  """Pass@k training from its section of a config. Raises ValueError for a k that no group has."""
  check_answers(config)
  m, completions = config.method, config.completions_per_prompt
  scale = one_of(m, "scale", ("none", "group"))
  if m.k is not None and m.k > completions:
    raise ValueError(f"method.k={m.k}: a prompt has completions_per_prompt={completions} answers, of which k are tried")

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    rows = trajectories.rewards, trajectories.group_ids, trajectories.scored
    advantages = pass_at_k(*rows, k=m.k, scale=scale, ddof=m.ddof, eps=m.epsilon)
    advantaged = masked_mean((advantages > 0).astype(jnp.float32), trajectories.scored)
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)}, {"advantaged": advantaged})

  return policy_gradient.method(config, task, signal, papers=("2503.19595", "2505.15201"))
