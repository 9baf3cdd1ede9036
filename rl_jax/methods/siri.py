"""SIRI: a response limit that falls and rises during training (arXiv 2509.25176).

Idea: the response limit falls and rises again during training. A falling limit forces dense reasoning, because a cut
answer earns nothing; a rising one lets the policy explore from there. There is no penalty on length. At iteration t, in
cycles of T and between the limits L_max and L_min (section 3)

  cosine:        L(t) = (L_max + L_min) / 2 + (L_max - L_min) / 2 cos(2 pi t / T)
  stair:         L_min in the first half of a cycle, L_max in the second
  stair_cosine:  the cosine at twice the speed, held for a quarter of the cycle at either end
  r_i = 0 if the answer was cut at L(t) tokens, else the task's reward; a cut answer stays in the loss
  A_i = (r_i - mean_j r_j) / (std_j r_j + eps)
  loss = 1/G sum_i 1/|o_i| sum_t -min(rho_t A_i, clip(rho_t, 1 - 0.2, 1 + 0.28) A_i),  no KL

Inferred: the order of the stair's phases, limits rounded to the nearest token, the std with ddof 1, eps. Held-out
prompts are answered with all response tokens of the task: L_max, with `longest_share` 1. The paper runs three cycles
of 640 iterations and takes its checkpoints at their ends (long) and in their middle (short); length follows the limit
by some iterations, and short cycles cost accuracy. `kernels.curricula.efficiency` is the paper's measure of a
checkpoint.

Metrics: those of policy_gradient.py, and response_limit, L(t). `truncated` is the share of answers that were cut.
Config: experiments/siri.py.
Source: paper; phases of "stair" and rounding inferred.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.curricula.length_limits import length_limits
from rl_jax.inputs.ranges import COUNT, Range
from rl_jax.kernels.curricula.length_schedule import length_limit
from rl_jax.kernels.reductions import Mean
from rl_jax.methods import grpo
from rl_jax.methods.method import Method, Signal, one_of
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

KINDS = ("cosine", "stair", "stair_cosine")


def get_config() -> dict[str, Any]:
  """GRPO without KL and with a wider upper clip, and the paper's schedule, 16384 to 8192 tokens."""
  return grpo.get_config() | {
    "kl_coefficient": 0.0,
    "clip_low": 0.2,
    "clip_high": 0.28,
    "kind": "cosine",  # or "stair", "stair_cosine"
    "cycle": 640,  # T, iterations
    "longest_share": 1.0,  # L_max / response tokens of the task
    "shortest_share": 0.5,  # L_min / response tokens of the task
  }


RANGES = grpo.RANGES | {
  "cycle": COUNT,
  "longest_share": Range(0, 1, above=True),
  "shortest_share": Range(0, 1, above=True),
}


def build(config: ConfigDict, task: Task) -> Method:
  """SIRI from its section of a config. Raises ValueError for options."""
  m = config.method
  one_of(m, "kind", KINDS)
  if m.shortest_share > m.longest_share:
    raise ValueError(f"method.shortest_share={m.shortest_share} is above method.longest_share={m.longest_share}")
  longest, shortest = (max(1.0, share * task.response_tokens) for share in (m.longest_share, m.shortest_share))
  schedule = partial(length_limit, kind=m.kind, cycle=m.cycle, longest=longest, shortest=shortest)
  base = grpo.build(config, task)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    rewards = jnp.where(trajectories.truncated, 0.0, trajectories.rewards)
    limit = Mean(schedule(iteration).tokens.astype(jnp.float32), jnp.float32(1.0))
    of_base = base.signal(trajectories.replace(rewards=rewards), iteration)
    return of_base._replace(metrics=of_base.metrics | {"response_limit": limit})

  curriculum = length_limits(base.curriculum, lambda iteration: schedule(iteration).tokens)
  return dataclasses.replace(base, curriculum=curriculum, signal=signal, papers=("2509.25176", *base.papers))
