"""A user's method, named by the path of this file: curriculum and rollout have states that shape the numbers.

The curriculum shortens responses by what it has seen. The rollout cuts more of them every second time, and keeps a
running mean of rewards, which the signal reads as the baseline.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from rl_jax.curricula.curriculum import Curriculum, Plan
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Signal
from rl_jax.rollouts.rollout import PhaseResult, nothing_new


def get_config() -> dict:
  return policy_gradient.get_config() | {"kl_coefficient": 0.01, "decay": 0.5}


def _curriculum(prompts: int, completions: int) -> Curriculum:
  def plan(state, task, key):
    rows = prompts * completions
    limits = jnp.full(rows, task.response_tokens) - state["seen"] % 3
    ids = task.problem_ids(jax.random.fold_in(key, state["seen"]), prompts, "train")
    return Plan(ids, jnp.ones(rows, bool), limits), state

  def update(state, trajectories, signal):
    return {"seen": state["seen"] + 1, "lengths": state["lengths"] + trajectories.response_lengths.sum()}

  return Curriculum(lambda key: {"seen": jnp.int32(0), "lengths": jnp.int32(0)}, plan, update)


def _stateful(rollout, decay: float):
  def counted(phase):
    def run(models, state, plan, prompts, before, key):
      limits = jnp.where(state["count"] % 2 == 0, plan.response_limits, plan.response_limits - 1)
      result = phase(models, (), plan.replace(response_limits=limits), prompts, before, key)
      return result._replace(state=state | {"count": state["count"] + 1})

    return run

  def with_baseline(models, state, plan, prompts, before, key):
    scores = _scores(before) + 1e-3 * jax.random.normal(key)
    rows = before.with_extras(baseline=jnp.full(scores.shape, state["mean"]))
    mean = decay * state["mean"] + (1 - decay) * scores.mean()
    return PhaseResult(state | {"mean": mean}, rows, nothing_new(rows), jnp.int32(0))

  def init(key):
    return {"count": jnp.int32(0), "mean": jnp.float32(0.0), "key": jax.random.key_data(key)}

  return dataclasses.replace(rollout, phases=(*map(counted, rollout.phases), with_baseline), init=init)


def _scores(trajectories):
  """An untrained policy earns nothing: lengths stand in for rewards."""
  return trajectories.rewards + 0.1 * trajectories.response_lengths


def build(config, task):
  def signal(trajectories, iteration):
    advantages = _scores(trajectories) - trajectories.extras["baseline"]
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)})

  base = policy_gradient.method(config, task, signal, papers=())
  return dataclasses.replace(
    base,
    curriculum=_curriculum(config.prompts_per_iteration, config.completions_per_prompt),
    rollout=_stateful(base.rollout, config.method.decay),
  )
