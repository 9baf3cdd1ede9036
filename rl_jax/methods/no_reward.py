"""No reward: sharpens the policy without a verifier; a control for studies.

Idea: a token is pushed by its own probability, so that the entropy falls independently of the verifier,

  A_t = log pi_old(token t) - mean over the trained tokens of the batch

A task on which this helps measures how fast a method lowers the temperature, not how it uses rewards.

Metrics: those of policy_gradient.py. Config: experiments/no_reward.py.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.kernels.reductions import masked_mean
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Method, Signal
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The options of the family."""
  return policy_gradient.get_config()


def build(config: ConfigDict, task: Task) -> Method:
  """The control from its section of a config."""

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    mask, logprobs = trajectories.trained, trajectories.old_logprobs
    return Signal({"policy": policy_gradient.token_stream(trajectories, logprobs - masked_mean(logprobs, mask).value)})

  return policy_gradient.method(config, task, signal, papers=())
