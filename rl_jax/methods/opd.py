"""OPD: on-policy distillation by the sampled tokens, the policy-gradient form (arXiv 2605.12483, section 3).

Idea: a verifier says once per response how good it was; a stronger model that the same labels have trained says it at
every token. The student writes, the frozen teacher scores the same tokens, and the log ratio of a token, an estimate of
-KL(student || teacher) from one sample, is its advantage:

  x_t = -c (log S_t - log T_t),   S as it sampled, T the teacher
  A_t = rho (r_i - mean_j r_j) + sum_{k >= t} gamma^(k - t) x_k                                        (rho 0: none)
  loss = -1/tokens sum_t [ pi(token t) / S_t ] A_t

At gamma 0 the expectation of A_t grad log S_t is the gradient of -c KL(S || T) at that state. gamma 1 is MiniLLM's
reward to go (2306.08543). rho adds the reward of the response against its group's mean, not divided by a spread. The
form over the whole vocabulary, and the bridge on the teacher's responses, are distillation.py.

The sampled form, c, gamma and rho are those of Thinking Machines' recipe, whose loss is a sum over tokens. Inferred:
the mean in its place; that the paper's runs took this form, as it writes the KL over the vocabulary and calls its
estimator "GRPO-style".

Metrics: those of policy_gradient.py, and
  reverse_kl: log S - log T of the tokens of the student, its mean over trained tokens.
  teacher/reverse_kl, teacher/forward_kl: exact divergences on answers to held-out prompts; see `_teachers.evaluations`.
Config: the stage `distillation` of experiments/opd.py.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import NOT_NEGATIVE, SHARE
from rl_jax.kernels.advantages.distillation import opd_with_rewards
from rl_jax.kernels.losses.divergence import kl
from rl_jax.kernels.reductions import masked_mean
from rl_jax.methods import _teachers, policy_gradient
from rl_jax.methods.method import Method, Signal, Stream
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """Thinking Machines' options: the teacher alone, each token for itself, no clip."""
  return (
    policy_gradient.get_config()
    | _teachers.options()
    | {
      "clip": "none",
      "coefficient": 1.0,  # c
      "discount": 0.0,  # gamma
      "reward_coefficient": 0.0,  # rho; 1 in the recipe with rewards
    }
  )


RANGES = _teachers.RANGES | {
  "coefficient": NOT_NEGATIVE, "discount": SHARE, "reward_coefficient": NOT_NEGATIVE
}  # fmt: skip


def build(config: ConfigDict, task: Task) -> Method:
  """OPD from its section of a config."""
  m = config.method

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    mask, student, teacher = trajectories.trained, trajectories.old_logprobs, trajectories.extras["teacher_logprobs"]
    rewards, options = m.reward_coefficient * trajectories.rewards, {"coef": m.coefficient, "discount": m.discount}
    advantages = opd_with_rewards(
      rewards, trajectories.group_ids, trajectories.scored, student, teacher, mask, **options
    )
    # The teacher judges rows too that the verifier could not score.
    policy = Stream(targets=advantages, weights=mask.astype(jnp.float32))
    return Signal({"policy": policy}, {"reverse_kl": masked_mean(kl(student, teacher, mask, value="k1"), mask)})

  method = policy_gradient.method(
    config, task, signal, papers=("2605.12483",), models={"teacher": _teachers.role(config, "logprobs")},
    scoring={"teacher_logprobs": ("teacher", "logprobs")}, requires=("teacher_logprobs",),
  )  # fmt: skip
  return dataclasses.replace(method, evaluations=_teachers.evaluations(config, task))
