"""REINFORCE++: returns normalised over the tokens of the batch (arXiv 2501.03262).

Idea: no critic, and no statistics of a few answers. The return of a token is compared with those of all tokens of the
batch:

  G_t = r_t + gamma G_{t+1},  A_t = (G_t - mean G) / std G                     baseline "none"
  A_t = (c_i - mean c) / std c,  c_i = r_i - mean_j r_j of its group           baseline "group"

Mean and std are over tokens, so that long answers count more, and the mean moves groups of equal rewards off 0.
`whitening` is "verl" (unbiased variance) or "openrlhf". The reward of an answer falls on its last token. The paper
takes a KL penalty per token off the reward; here it is a term of the loss (`kl_coefficient`), as in verl's default.

Metrics: those of policy_gradient.py. Config: experiments/reinforce_pp.py.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import SHARE
from rl_jax.kernels.advantages.group import reinforce_pp_baseline
from rl_jax.kernels.advantages.returns import reinforce_pp
from rl_jax.methods import policy_gradient, ppo
from rl_jax.methods.method import Method, Signal, check_answers, one_of
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The libraries' defaults: no discount, no group."""
  return policy_gradient.get_config() | {
    "baseline": "none",  # or "group": REINFORCE++-baseline
    "discount": 1.0,  # of returns, for "none"
    "whitening": "verl",
  }


RANGES = {"discount": SHARE}


def build(config: ConfigDict, task: Task) -> Method:
  """REINFORCE++ from its section of a config."""
  m = config.method
  whitening = one_of(m, "whitening", ("verl", "openrlhf"))
  if one_of(m, "baseline", ("none", "group")) == "group":
    check_answers(config)

  def returns(rows: Trajectories) -> Array:
    mask = rows.trained & rows.scored[:, None]
    return reinforce_pp(ppo.token_rewards(rows), mask, discount=m.discount, whitening=whitening)

  def of_group(rows: Trajectories) -> Array:
    scores = rows.rewards, rows.group_ids, rows.scored
    return reinforce_pp_baseline(*scores, rows.trained, whitening=whitening, singleton="zero")

  estimate = {"none": returns, "group": of_group}[m.baseline]

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    return Signal({"policy": policy_gradient.token_stream(trajectories, estimate(trajectories))})

  return policy_gradient.method(config, task, signal, papers=("2501.03262",))
