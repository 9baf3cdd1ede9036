"""Teachers: frozen models that a student learns from, and divergences between the two."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from ml_collections import ConfigDict

from rl_jax.curricula.curriculum import Plan
from rl_jax.inputs.ranges import WHOLE
from rl_jax.kernels.logprobs import linear_generalized_jsd
from rl_jax.kernels.reductions import Mean, masked_mean
from rl_jax.methods.method import Evaluation, ModelRole
from rl_jax.models import layout
from rl_jax.rollouts.rollout import BoundModel, Models, collect
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.rollouts.turns import responses
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

STATES = ("hidden", "readout")
"""Outputs that a divergence over the vocabulary is computed from."""


def options() -> dict[str, Any]:
  """Options of a method with a teacher."""
  return {
    "teacher": {
      "init_from": "",  # a stage, a run or another role; "": as the section `model` initialises it
      "model": {},  # fields that differ from the section `model`, such as width and layers
    },
    "held_out_prompts": 64,  # held-out prompts; student and teacher are compared on the answers of both; 0: none
  }


RANGES = {"held_out_prompts": WHOLE}


def role(config: ConfigDict, *outputs: str) -> ModelRole:
  """The frozen model of a method's section `teacher`."""
  section = config.method.teacher
  return ModelRole(config=section.model.to_dict(), init_from=section.init_from, outputs=outputs, trained=False)


def divergences(
  student: Mapping[str, Array],
  teacher: Mapping[str, Array],
  trajectories: Trajectories,
  *,
  beta: float,
  temperature: float,
) -> Float[Array, "B T"]:
  """`linear_generalized_jsd` of the two distributions at each trained token, 0 elsewhere. Logits are never stored.

  Args:
    student, teacher: outputs `STATES` of each model; gradients go to the student's.
  """
  slots = slice(trajectories.prompt_width, trajectories.run_width)
  found = linear_generalized_jsd(
    student["hidden"][:, slots],
    student["readout"],
    teacher["hidden"][:, slots],
    teacher["readout"],
    trajectories.trained[:, slots],
    layout="DV",
    beta=beta,
    temperature=temperature,
    placement=layout.of_output(student["readout"].shape[1]),
  )
  return jnp.zeros(trajectories.tokens.shape, found.dtype).at[:, slots].set(found)


def evaluations(config: ConfigDict, task: Task) -> dict[str, Evaluation]:
  """The evaluation `teacher`: per-token divergences over the whole vocabulary, on answers to held-out prompts.

  `reverse_kl` is KL(student || teacher) on the student's answers, `forward_kl` KL(teacher || student) on the teacher's.
  Empty for a task that is scored in Python, as its prompts are not made on the device.
  """
  count = config.method.held_out_prompts
  if not (task.on_device and count):
    return {}

  def answers(models: Models, writer: str, key: PRNGKeyArray) -> Trajectories:
    ids = task.problem_ids(jax.random.key(config.evaluation.prompts_seed), count, "held_out")
    plan = Plan(ids, jnp.ones(count, bool), jnp.full(count, task.response_tokens))
    rollout = responses(task, 1, sampling_from(config), by=writer)
    phase_key = lambda phase: jax.random.fold_in(key, phase)
    return collect(rollout, models, rollout.init(key), plan, task, "held_out", phase_key).trajectories

  def states(bound: BoundModel, rows: Trajectories) -> dict[str, Array]:
    return dataclasses.replace(bound.model, names=STATES).outputs(bound.params, rows)

  def measured(models: Models, key: PRNGKeyArray) -> dict[str, Mean]:
    metrics = {}
    for index, (name, writer, beta) in enumerate((("reverse_kl", "policy", 1.0), ("forward_kl", "teacher", 0.0))):
      rows = answers(models, writer, jax.random.fold_in(key, index))
      pair = states(models["policy"], rows), states(models["teacher"], rows)
      found = divergences(*pair, rows, beta=beta, temperature=config.sampling.temperature)
      metrics[name] = masked_mean(found, rows.trained)
    return metrics

  return {"teacher": measured}
