"""A-GRAE: asymmetric group relative advantages (arXiv 2602.05548).

Idea: GRPO's advantages add up to 0 in a group, so responses that were not sampled gain nothing, and they are largest at
success rate p = 1/2 throughout training. A-GRAE damps positive advantages while few responses succeed, and moves weight
from easy to hard prompts as more do. With the advantage A of the base and omega the success rate of
the batch (eq. 11)

  A_i <- (omega / sqrt(p) + (1 - omega) / sqrt(1 - p)) / 2 A_i   where 0 < p < 1                  (eq. 12)
  A_i <- min(1, omega / alpha) A_i                               where A_i > 0                    (eq. 13)
  loss: that of the base

`base` is "grpo", "dr_grpo" (no division by the std, a constant length) or "dapo" (GRPO's advantage, upper clip 0.28; no
dynamic sampling in the paper's rows). `form`:
  paper: both equations; sample, group: eq. 12 alone and eq. 13 alone, the paper's ablations.
  code: the release's, with 1 / (1 - sqrt(p)) for 1 / sqrt(1 - p), which weighs easy prompts more, and omega as the mean
    over groups. As released its branch is never entered, so that the scripts train plain GRPO.
  positive_dominant, negative_dominant: beta A_i, A_i / beta where A_i > 0, the controls of eq. 13.
  hard_focused, easy_focused: gamma A_i / sqrt(p), gamma A_i / sqrt(1 - p), the controls of eq. 12.
  base: A_i as it is.

Inferred: p and omega are shares of correct responses if rewards are other than 0 and 1. A group of one has
advantage 0 (5e5 in the code). The paper's theorems have ddof 0, its code ddof 1. The length of "dr_grpo" is Dr. GRPO's.

Metrics: those of policy_gradient.py, and
  success_rate: omega.
  mean_advantage: over scored rows; below 0 the probability of responses that were not sampled rises (theorem 1).
Config: experiments/a_grae.py, on rl_jax/tasks/pairs.py.
Source: paper and code, which differ; non-binary rewards inferred.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import NOT_NEGATIVE, POSITIVE, Range
from rl_jax.kernels.advantages.difficulty import a_grae, difficulty_focused, sign_dominant
from rl_jax.kernels.reductions import group_mean, group_size, masked_mean
from rl_jax.methods import grpo, policy_gradient
from rl_jax.methods.method import Method, Signal, check_answers, one_of
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

LOSSES: dict[str, dict[str, Any]] = {
  "grpo": {}, "dr_grpo": {"aggregation": "sequence_mean_constant"}, "dapo": {"clip_low": 0.2, "clip_high": 0.28}
}  # fmt: skip
"""Options of the base's loss, apart from the mean over tokens."""


def get_config() -> dict[str, Any]:
  """The paper's options for MATH, with verl's dual clip."""
  return policy_gradient.get_config() | {
    "base": "grpo",
    "form": "paper",
    "alpha": 1.0,  # success rate from which on nothing is damped; the paper's 0.5 for its other data
    "beta": 10.0,
    "gamma": 0.5,
    "ddof": 1,
    "epsilon": 1e-6,
    "aggregation": "base",  # the base's, or one of policy_gradient.py
    "dual_clip": 3.0,
  }


RANGES = grpo.RANGES | {"alpha": Range(0, 1, above=True), "beta": POSITIVE, "gamma": NOT_NEGATIVE}


def released(rewards: Array, ids: Array, mask: Array, correct: Array, alpha: float, **options: Any) -> Array:
  """Advantages as intended by the authors' code, with the arguments of the kernel `a_grae`."""
  success, eps = group_mean(correct, ids, mask), options["eps"]
  omega, root = masked_mean(success, mask / jnp.maximum(group_size(ids, mask), 1)).value, jnp.sqrt(success)
  factor = jnp.where((0 < success) & (success < 1), (omega / (root + eps) + (1 - omega) / (1 - root + eps)) / 2, 1)
  advantages = sign_dominant(rewards, ids, mask, beta=1.0, **options)
  return advantages * factor * jnp.where(advantages > 0, jnp.minimum(1, omega / alpha), 1)


def build(config: ConfigDict, task: Task) -> Method:
  """A-GRAE from its section of a config."""
  check_answers(config)
  m = config.method
  losses = {"aggregation": "token_mean"} | LOSSES[one_of(m, "base", LOSSES)]
  options: dict[str, Any] = {"base": "dr_grpo" if m.base == "dr_grpo" else "grpo", "ddof": m.ddof, "eps": m.epsilon}
  of_sign = lambda r, ids, mask, correct, beta=m.beta, **sign: sign_dominant(r, ids, mask, beta=beta, **sign, **options)
  forms: dict[str, Any] = {
    "paper": partial(a_grae, alpha=m.alpha, **options),
    "sample": partial(a_grae, levels="sample", **options),
    "group": partial(a_grae, levels="group", alpha=m.alpha, **options),
    "code": partial(released, alpha=m.alpha, **options),
    "positive_dominant": of_sign,
    "negative_dominant": partial(of_sign, sign="negative"),
    "hard_focused": partial(difficulty_focused, gamma=m.gamma, **options),
    "easy_focused": partial(difficulty_focused, focus="easy", gamma=m.gamma, **options),
    "base": partial(of_sign, beta=1.0),
  }
  estimate = forms[one_of(m, "form", forms)]
  config = config.copy_and_resolve_references()
  config.method.update({name: value for name, value in losses.items() if m[name] in (None, "base")})

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    scored, correct = trajectories.scored, trajectories.correct
    advantages = estimate(trajectories.rewards, trajectories.group_ids, scored, correct=correct)
    metrics = {"success_rate": masked_mean(correct, scored), "mean_advantage": masked_mean(advantages, scored)}
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)}, metrics)

  return policy_gradient.method(config, task, signal, papers=("2602.05548",))
