"""A resolved config made into parts: task, method, models, optimisers. No arrays yet."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import optax

from rl_jax.methods.method import Method, ModelRole
from rl_jax.models.model import Model
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.training import mesh
from rl_jax.training.errors import TrainingError
from rl_jax.training.optimizer import make_optimizer, schedule
from rl_jax.training.seeds import learning_rates
from rl_jax.training.sizes import divides, sizes_of


@dataclasses.dataclass(frozen=True)
class Experiment:
  """Everything that one iteration needs beside its state.

  Attributes:
    task: a DeviceTask or a HostTask.
    schedules, optimizers: of the trained models, by name.
  """

  config: Any
  task: Any
  method: Method
  models: Mapping[str, Model]
  schedules: Mapping[str, optax.Schedule]
  optimizers: Mapping[str, optax.GradientTransformation]

  @property
  def rules(self) -> mesh.Rules:
    """How logical axes are laid over the mesh."""
    return mesh.rules(self.config.mesh.get("rules", {}))

  @property
  def rollout_rules(self) -> mesh.Rules:
    """The same while responses are generated."""
    return mesh.rules(self.config.mesh.get("rules", {}), self.config.mesh.get("rollout_rules", {}))


def build(config, *, task, method, model) -> Experiment:
  """Parts of a resolved config.

  Args:
    task, method, model: what the config names: modules or objects with `build`.
  """
  check(config)
  built_task = _built("task", config, lambda: task.build(config.task))
  built = _built("method", config, lambda: method.build(config, built_task))
  words = len(built_task.vocabulary)
  models = {
    name: _built(
      "model", config, lambda role=role: model.build(config.model, words, role.kind, config.sampling.temperature)
    )
    for name, role in built.models.items()
  }
  updates = config.num_iterations * sizes_of(config).updates
  schedules = {
    name: schedule(config.optimizer, _learning_rate(role, config), updates)
    for name, role in built.models.items()
    if role.trained
  }
  per_member = bool(learning_rates(config))
  optimizers = {name: make_optimizer(config.optimizer, rate, per_member=per_member) for name, rate in schedules.items()}
  return Experiment(config, built_task, built, models, schedules, optimizers)


def _learning_rate(role: ModelRole, config) -> float:
  return config.learning_rate if role.learning_rate is None else role.learning_rate


def _built(section: str, config, make):
  """What a part builds; its ValueError as a line that names the part."""
  try:
    return make()
  except ValueError as error:
    raise TrainingError(f"{' '.join([section, config[section].get('name', '')]).strip()}: {error}") from error


_POSITIVE = (
  "num_seeds",
  "num_iterations",
  "prompts_per_iteration",
  "completions_per_prompt",
  "epochs",
  "minibatches_per_epoch",
  "evaluation.prompts",
  "evaluation.samples_per_prompt",
  "optimizer.max_skipped_updates",
  "checkpoint.keep",
)


def check(config) -> None:
  """Fields that make no sense or do not go together.

  Raises: TrainingError that names the field and what would do.
  """
  for name in _POSITIVE:
    value = functools.reduce(lambda section, key: section[key], name.split("."), config)
    if value < 1:
      raise TrainingError(f"{name} is at least 1, got {value}")
  _check_members(config)
  sizes_of(config)
  _built("sampling", config, lambda: sampling_from(config))
  mesh.rules(config.mesh.get("rules", {}), config.mesh.get("rollout_rules", {}))
  for name in ("evaluation.every_iterations", "checkpoint.every_iterations"):
    section, key = name.split(".")
    divides(config[section][key], config.logging.every_iterations, name, "logging.every_iterations")
  most = config.evaluation.samples_per_prompt
  if any(not 1 <= k <= most for k in config.evaluation.pass_at):
    raise TrainingError(
      f"evaluation.pass_at={tuple(config.evaluation.pass_at)} needs 1 <= k <= evaluation.samples_per_prompt ({most})"
    )
  divides(config.num_iterations, config.logging.every_iterations, "num_iterations", "logging.every_iterations")


def _check_members(config) -> None:
  rates, count = learning_rates(config), config.num_seeds
  if not rates:
    return
  if not all(isinstance(rate, int | float) and 0 < rate < math.inf for rate in rates):
    raise TrainingError(f"learning_rates are numbers above 0, got {rates}")
  if config.learning_rate <= 0:
    raise TrainingError(f"learning_rate={config.learning_rate}: it is what learning_rates are multiples of; above 0")
  if count % len(rates):
    raise TrainingError(
      f"num_seeds={count} counts each seed once for each of the {len(rates)} learning_rates: take a multiple of it"
    )
