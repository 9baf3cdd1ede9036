"""Forms of inference that refine drafts, and their evaluation; see rollouts/refinement.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray
from ml_collections import ConfigDict

from rl_jax.curricula.curriculum import Plan
from rl_jax.inputs.ranges import COUNT
from rl_jax.kernels.reductions import Mean, masked_mean
from rl_jax.methods.method import Evaluation
from rl_jax.rollouts.refinement import refined
from rl_jax.rollouts.rollout import Models, RolloutResult, collect
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.rollouts.workspaces import OUTCOMES, Operator, holds_workspace
from rl_jax.tasks.task import Task


def options() -> dict[str, Any]:
  """Options of the evaluation."""
  return {
    "inference": ((), (1,), (4,)),  # widths of the rounds of drafts of each form that is evaluated
    "oracles": True,  # evaluate the last form with right drafts alone, and with wrong ones alone, where there are both
  }


def named(widths: Sequence[int]) -> str:
  """Name of a form of inference: single, sequential_3 for (1, 1, 1), parallel_8_4 for (8, 4)."""
  if not widths:
    return "single"
  if set(widths) == {1}:
    return f"sequential_{len(widths)}"
  return "_".join(map(str, ("parallel", *widths)))


def evaluations(config: ConfigDict, task: Task, operator: Operator) -> dict[str, Evaluation]:
  """Evaluations by the names of `method.inference`, of accuracy and tokens per prompt; and "oracles" of the last form.

  Each of the `evaluation.prompts` held-out problems is answered `evaluation.samples_per_prompt` times, each time from
  drafts of its own. The oracles show right drafts, wrong ones, or any, of the same drafts, and are compared where there
  are both: else a workspace would be missing, and its response a single pass. None for a task that is scored in Python,
  whose prompts are not made on device.

  Raises: ValueError: a width is not a whole number of at least 1, or there is no form with drafts for the oracles.
  """
  m, section = config.method, config.evaluation
  forms = [_widths(widths) for widths in m.inference]
  if m.oracles and not (forms and forms[-1]):
    raise ValueError("method.oracles: the last form of method.inference has no drafts: put one that has some there")
  if not task.on_device:
    return {}

  def answered(operator: Operator, widths: tuple[int, ...], models: Models, key: PRNGKeyArray) -> RolloutResult:
    problems = task.problem_ids(jax.random.key(section.prompts_seed), section.prompts, "held_out")
    ids = jnp.repeat(problems, section.samples_per_prompt)
    plan = Plan(ids, jnp.ones(ids.shape, bool), jnp.full(ids.shape, task.response_tokens))
    rollout = refined(task, widths, sampling_from(config), operator)
    return collect(rollout, models, (), plan, task, "held_out", partial(jax.random.fold_in, key))

  def measure(widths: tuple[int, ...], models: Models, key: PRNGKeyArray) -> dict[str, Mean]:
    result = answered(operator, widths, models, key)
    rows = result.trajectories
    return {"accuracy": masked_mean(rows.correct.astype(jnp.float32), rows.row_mask), **result.metrics}

  def oracles(models: Models, key: PRNGKeyArray) -> dict[str, Mean]:
    def of(outcome: Int[Array, ""]) -> tuple[Bool[Array, " B"], Bool[Array, " B"]]:
      rows = answered(dataclasses.replace(operator, outcome=outcome), forms[-1], models, key).trajectories
      return rows.correct, holds_workspace(task, rows, "held_out")

    correct, shown = jax.lax.map(of, jnp.arange(len(OUTCOMES)))  # compiled once
    both = shown[OUTCOMES.index("right")] & shown[OUTCOMES.index("wrong")]
    accuracy = {name: masked_mean(of_name, both) for name, of_name in zip(OUTCOMES, correct, strict=True)}
    return accuracy | {"both": masked_mean(both, jnp.ones_like(both))}

  measured = {named(widths): partial(measure, widths) for widths in forms}
  return measured | ({"oracles": oracles} if m.oracles else {})


def _widths(widths: Any) -> tuple[int, ...]:
  widths = tuple(widths) if isinstance(widths, Sequence) else (widths,)
  if not all(COUNT.holds(width) for width in widths):
    raise ValueError(f"method.inference: widths of rounds are whole numbers of at least 1, got {widths!r}")
  return widths
