"""Provers: policies, other than the one that learns, whose values judge steps, and the sources of these values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from rl_jax.methods import policy_gradient
from rl_jax.methods.method import ModelRole
from rl_jax.rollouts import step_values
from rl_jax.rollouts.branches import Boundaries, branches
from rl_jax.rollouts.rollout import Rollout
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.tasks.task import StepValues, Task
from rl_jax.trajectories import Trajectories


class Prover(NamedTuple):
  """Values of steps under a frozen policy, with the rollout, models and scores that they need."""

  values: Callable[[Trajectories], StepValues]
  """Probabilities of success before and after the step of each token, [B, T]."""
  rollout: Rollout
  models: Mapping[str, ModelRole] = {}  # noqa: RUF012
  scoring: Mapping[str, tuple[str, str]] = {}  # noqa: RUF012
  requires: tuple[str, ...] = ()


def truth(config: ConfigDict, task: Task) -> Prover:
  """The task's own prover, with strength `prover_gamma`. Raises ValueError if the task has none."""
  if task.prover_values is None:
    raise ValueError("method.prover='truth': the task has no prover of its own; use 'samples' or 'verifier'")
  exact = lambda trajectories: step_values.of_prover(task, trajectories, config.method.prover_gamma)
  return Prover(exact, policy_gradient.independent(config, task))


def samples(config: ConfigDict, task: Task) -> Prover:
  """A model as prover: its completions from the start of each step are scored, and count as generated."""
  m, episodes, starts = config.method, policy_gradient.independent(config, task), starts_of(config, task)
  rollout = branches(task, episodes, starts, m.completions, sampling_from(config), by="prover")
  role = ModelRole(trained=False, init_from=m.prover_init_from)
  return Prover(step_values.from_completions, rollout, {"prover": role}, requires=step_values.READ)


def verifier(config: ConfigDict, task: Task) -> Prover:
  """A model as prover whose head is the logit of success. Raises ValueError if `prover_init_from` is not set."""
  m, starts = config.method, starts_of(config, task)
  if "#" not in m.prover_init_from:  # a policy, whose head nothing has trained
    raise ValueError(
      "method.prover='verifier' needs a trained model: method.prover_init_from names a stage or run and its model, as "
      f"in 'verifier#verifier', got {m.prover_init_from!r}"
    )

  def predicted(trajectories: Trajectories) -> StepValues:
    at, exists = starts(trajectories)
    logits = trajectories.extras["prover_logits"][:, trajectories.prompt_width :]
    of_starts = jnp.take_along_axis(jax.nn.sigmoid(logits), jnp.where(exists, at, 0), axis=1)
    return step_values.from_starts(trajectories, of_starts, exists)

  role = ModelRole(trained=False, init_from=m.prover_init_from, outputs=("values",))
  scoring = {"prover_logits": ("prover", "values")}
  return Prover(predicted, policy_gradient.independent(config, task), {"prover": role}, scoring, tuple(scoring))


def starts_of(config: ConfigDict, task: Task) -> Callable[[Trajectories], Boundaries]:
  """Boundaries at the starts of steps with known values, at most `max_steps`."""
  return step_values.starts_of_steps(task, config.method.max_steps)


PROVERS = {"truth": truth, "samples": samples, "verifier": verifier}
