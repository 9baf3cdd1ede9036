"""A user's method, named by the path of this file: curriculum, rollout and learner have states that shape the numbers.

The curriculum shortens responses by what it has seen, the rollout cuts more of them every second time, and the learner
keeps a running mean of rewards, the baseline.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from rl_jax.curricula.curriculum import Curriculum, Plan
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Learner


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


def _stateful(rollout):
  def counted(phase):
    def run(models, state, plan, task, trajectories, key):
      limits = jnp.where(state % 2 == 0, plan.response_limits, plan.response_limits - 1)
      _, trajectories = phase(models, (), plan.replace(response_limits=limits), task, trajectories, key)
      return state + 1, trajectories

    return run

  return dataclasses.replace(rollout, phases=tuple(map(counted, rollout.phases)), init=lambda key: jnp.int32(0))


def _baseline(decay: float) -> Learner:
  def update(state, trajectories, key):
    # An untrained policy earns nothing: lengths stand in for rewards.
    scores = trajectories.rewards + 0.1 * trajectories.response_lengths + 1e-3 * jax.random.normal(key)
    mean = decay * state["mean"] + (1 - decay) * scores.mean()
    return {"mean": mean, "key": state["key"]}, {"baseline": jnp.full(scores.shape, state["mean"])}

  return Learner(lambda key: {"mean": jnp.float32(0.0), "key": jax.random.key_data(key)}, update)


def build(config, task):
  def signal(trajectories, arrays, progress):
    scores = trajectories.rewards + 0.1 * trajectories.response_lengths
    return {"policy": policy_gradient.token_stream(trajectories, scores - arrays["baseline"])}

  base = policy_gradient.method(config, task, signal, papers=())
  return dataclasses.replace(
    base,
    curriculum=_curriculum(config.prompts_per_iteration, config.completions_per_prompt),
    rollout=_stateful(base.rollout),
    learners={"baseline": _baseline(config.method.decay)},
  )
