"""OTB: the optimal token baseline (arXiv 2602.07078).

Idea: the baseline of least variance weighs answers by the squared norm of their gradient, and a token's gradient
reaches back only to the tokens before it. So every token has a baseline of its own, in which an answer counts by the
norm that it has gathered so far, taken from the logits alone: the squared gradient of log pi(o_t) by them is 1 - 2
pi(o_t) + sum_v pi(v)^2.

  W_it = sum_{s <= t} (1 - 2 pi(o_is) + sum_v pi_is(v)^2),  G_it = sum_{s >= t} r_is
  A_it = G_it - sum_j W_jt G_jt / sum_j W_jt                         over the answers j that have a token t

`align` says which tokens are the t-th ones: "token" counts the policy's own, as verl's tir_optimal_token_baseline,
"slot" the places in the row, as its optimal_token_baseline; in a single turn the two are one. `zero_tail` gives tokens
that no other answer reaches the baseline 0 (verl's default with tools), else their advantage is 0. Probabilities are
those before the update, which takes a pass of the policy more.

Metrics: those of policy_gradient.py. Config: experiments/optimal_token_baseline.py.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.kernels.advantages import token_baseline
from rl_jax.methods import policy_gradient, ppo
from rl_jax.methods.method import Method, ModelRole, Signal, check_answers, one_of
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The estimator in the family's loss."""
  return policy_gradient.get_config() | {"align": "token", "zero_tail": False}


def build(config: ConfigDict, task: Task) -> Method:
  """The optimal token baseline from its section of a config."""
  check_answers(config)
  m = config.method
  align = one_of(m, "align", token_baseline.ALIGNMENTS)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    advantages = token_baseline.optimal_token_baseline(
      ppo.token_rewards(trajectories),
      trajectories.old_logprobs,
      trajectories.extras["collisions"],
      trajectories.group_ids,
      trajectories.trained & trajectories.scored[:, None],
      align=align,
      zero_tail=m.zero_tail,
    )
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)})

  return policy_gradient.method(
    config, task, signal, papers=("2602.07078",), requires=("collisions",),
    models={"policy": ModelRole(outputs=("logprobs", "entropies", "collisions"))},
    scoring={"collisions": ("policy", "collisions")},
  )  # fmt: skip
