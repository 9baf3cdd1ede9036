"""ADORA: a weight per prompt by the lengths of its right and wrong responses (arXiv 2602.10019).

Idea: GRPO gives every prompt the same weight, whatever the policy can currently learn from it. After each rollout ADORA
labels a prompt by its answers and multiplies all their advantages by one weight. Longer thinking pays if the longest
right answer is longer than the mean wrong answer; a prompt is hard if at most a share tau of its answers is right. For
the G answers of one prompt (eq. 4 to 8)

  pays = max over right answers of |o_i| > mean over wrong answers that were not cut of |o_i|
  hard = number of right answers / G <= tau
  w = 1 if pays, else 0.1                               variants "code_llm" and "paper_vlm"
  w = 2 if pays and hard, else 1                        variant "paper_llm"
  A_i = w (r_i - mean_j r_j) / (std_j r_j + eps)

The default is the authors' released code for language models, "code_llm", which damps. Their paper amplifies for
language models and damps only for vision-language models. The two damping variants are one here, because the paper
gives no weight for a group without a right or without a wrong answer. As in that code, thinking does not pay without a
right answer and pays without a wrong one. The authors' code for vision-language models has the reverse, which differs
if all wrong answers were cut; it is not a variant. A right answer has a reward above `correct_threshold`; wrong answers
of `length_cap` tokens or more count as cut. That both labels must hold is inferred: `combine` is "and", "or", "length"
or "difficulty". The mean over each answer is that of the vision-language code. With scale "none" the weights multiply
rewards minus their mean.

Metrics: those of policy_gradient.py, and group_weight, the mean of w over scored rows.
Config: experiments/adora.py.
Source: authors' code; the paper's forms second hand, part inferred.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import COUNT, FINITE, NOT_NEGATIVE, SHARE
from rl_jax.kernels.advantages.reweighting import COMBINATIONS, adora_damping, adora_weights
from rl_jax.kernels.reductions import masked_mean
from rl_jax.methods import grpo
from rl_jax.methods.method import Method, Signal, one_of
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

VARIANTS = ("code_llm", "paper_llm", "paper_vlm")


def get_config() -> dict[str, Any]:
  """GRPO with the code's small KL term, and the weights of its form for language models."""
  return grpo.get_config() | {
    "kl_coefficient": 0.001,
    "variant": "code_llm",  # or "paper_llm", "paper_vlm"
    "attenuated": 0.1,  # w of damped prompts
    "amplified": 2.0,  # w of amplified prompts, "paper_llm"
    "success_threshold": 0.5,  # tau, "paper_llm"
    "combine": "and",  # combination of the labels, "paper_llm"; or "or", "length", "difficulty"
    "correct_threshold": 0.5,  # the code's rewards of -3 to 3 take 1.01
    "length_cap": None,  # None: the response tokens of the task
  }


RANGES = grpo.RANGES | {
  "attenuated": NOT_NEGATIVE,
  "amplified": NOT_NEGATIVE,
  "success_threshold": SHARE,
  "correct_threshold": FINITE,
  "length_cap": COUNT.optional(),
}


def build(config: ConfigDict, task: Task) -> Method:
  """ADORA from its section of a config."""
  m = config.method
  one_of(m, "combine", COMBINATIONS)
  weigh: Callable[..., Array] = partial(adora_damping, attenuated=m.attenuated)
  if one_of(m, "variant", VARIANTS) == "paper_llm":
    options = {"success_threshold": m.success_threshold, "combine": m.combine, "amplified": m.amplified}
    weigh = partial(adora_weights, **options)
  cap = task.response_tokens if m.length_cap is None else m.length_cap
  base = grpo.build(config, task)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    rows = trajectories.rewards, trajectories.response_lengths, trajectories.group_ids, trajectories.scored
    weights = weigh(*rows, correct_threshold=m.correct_threshold, length_cap=cap)
    stream = base.signal(trajectories, iteration).streams["policy"]
    weighted = dataclasses.replace(stream, targets=weights[:, None] * stream.targets)
    return Signal({"policy": weighted}, {"group_weight": masked_mean(weights, trajectories.scored)})

  return dataclasses.replace(base, signal=signal, papers=("2602.10019", *base.papers))
