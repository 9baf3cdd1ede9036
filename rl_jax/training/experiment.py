"""Parts of a resolved config: task, method, models, optimisers. No arrays yet."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, Protocol

import jax
import optax
from ml_collections import ConfigDict

from rl_jax.curricula.curriculum import Curriculum
from rl_jax.errors import UserError
from rl_jax.inputs.calls import check_call, fields_of
from rl_jax.inputs.users_code import joined, place_of, place_of_function
from rl_jax.methods.method import Method, ModelRole, check_options
from rl_jax.models.model import Model
from rl_jax.models.outputs import OF_PARAMETERS
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.tasks.host import HostTask
from rl_jax.tasks.task import DeviceTask, Task, missing
from rl_jax.training import mesh, ranges
from rl_jax.training.contracts import check_built
from rl_jax.training.optimizer import make_optimizer, schedule
from rl_jax.training.seeds import learning_rates
from rl_jax.training.sizes import divides, sizes_of


@dataclasses.dataclass(frozen=True)
class Experiment:
  """Everything that an iteration needs besides its state.

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
    """Mesh axes of each logical axis."""
    return mesh.rules(self.config.mesh.get("rules", {}))

  @property
  def rollout_rules(self) -> mesh.Rules:
    """Mesh axes of each logical axis while responses are generated."""
    return mesh.rules(self.config.mesh.get("rules", {}), self.config.mesh.get("rollout_rules", {}))


class TaskModule(Protocol):
  """Interface of the module that a config's `task.name` names."""

  def build(self, config: ConfigDict) -> DeviceTask | HostTask | Task:
    """Build the task of a section `task`."""
    ...


class MethodModule(Protocol):
  """Interface of the module that a config's `method.name` names."""

  def build(self, config: ConfigDict, task: Task) -> Method:
    """Build the method of a config, for its task."""
    ...


class ModelModule(Protocol):
  """Interface of the module that a config's `model.name` names."""

  def get_config(self) -> dict[str, Any]:
    """Defaults of a section `model`."""
    ...

  def build(self, config: Any, vocabulary: int, *, names: tuple[str, ...], heads: int, temperature: float) -> Model:
    """Build the model of a section `model`."""
    ...


def build(
  config: ConfigDict, *, task: TaskModule, method: MethodModule, models: Callable[[str], ModelModule]
) -> Experiment:
  """Build the parts of a resolved config.

  Args:
    task, method: modules or objects with `build`, named by the config.
    models: name in a section `model` -> its module or object.
  """
  check(config)
  built_task = _built("task", config, lambda: _task(task, config))
  _check_stops(config, len(built_task.vocabulary))
  built = _built("method", config, lambda: _method(method, config, built_task))
  built_models = {
    name: _built(
      "model",
      config,
      lambda name=name, role=role: _model(config, name, role, len(built_task.vocabulary), models),
      of=dict(role.config).get("name"),
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
  return Experiment(config, built_task, built, built_models, schedules, optimizers)


def _check_stops(config: ConfigDict, vocabulary: int) -> None:
  """Raise UserError for a stop sequence with token ids outside the vocabulary."""
  for sequence in config.sampling.stop_sequences:
    for token in sequence:
      if isinstance(token, bool) or not isinstance(token, Integral) or not 0 <= int(token) < vocabulary:
        raise UserError(
          f"sampling.stop_sequences: {token!r} in {tuple(sequence)} is no token id: the vocabulary of "
          f"{config.task.name} has {vocabulary}, from 0 to {vocabulary - 1}"
        )


def _task(module: TaskModule, config: ConfigDict) -> Any:
  check_call(module.build, "build", ("config",))
  task = module.build(config.task)
  lacks = missing(task)
  if task is None:
    raise ValueError(f"build ({place_of_function(module.build)}) gave None, want a task: does it return one?")
  if lacks:
    raise ValueError(
      f"{type(task).__name__} has no {', '.join(lacks)}: inherit from rl_jax.tasks.task.Task, which has most of it"
    )
  return task


ALWAYS = ("levels",)
"""Extras of every batch."""


def _method(module: MethodModule, config: ConfigDict, task: Any) -> Method:
  """The method, after checks that its models are consistent and the extras that it requires are provided."""
  check_options(config, module)
  check_call(module.build, "build", ("config", "task"))
  method = module.build(config, task)
  check_built(method, module.build)
  _check_models(method)
  _check_curriculum(method.curriculum, task)
  provided = {*ALWAYS, *method.rollout.given(task.provides), *method.scoring}
  for who, requires in (("it", method.requires), ("its curriculum", method.curriculum.requires)):
    lacks = [name for name in requires if name not in provided]
    if lacks:
      names = ", ".join(sorted(provided))
      raise ValueError(
        f"{who} requires {', '.join(lacks)} of the task {type(task).__name__} or its own rollout, which give {names}: "
        "use another task, such as that of an experiment with this method"
      )
  return method


def _check_curriculum(curriculum: Curriculum, task: Any) -> None:
  """Trace a plan, which shows what does not fit the task, before any stage is trained."""
  key = jax.random.key(0)
  jax.eval_shape(lambda: curriculum.next(curriculum.init(key), task, key))


def _check_models(method: Method) -> None:
  roles = method.models
  if "policy" not in roles:
    raise ValueError(f"it names no model 'policy', but {', '.join(roles) or 'none'}")
  if roles["policy"].init_from:
    raise ValueError("the policy starts where the config's init_from says: leave init_from out of its role")
  for name, role in roles.items():
    if role.loss is not None and not role.trained:
      raise ValueError(f"{name} has a loss of its own and trained=False: leave one of them out")
    chain = [name]
    while (ahead := roles[chain[-1]].init_from) in roles:
      if ahead in chain:
        circle = " from ".join([*chain, ahead])
        raise ValueError(f"models start from one another: {circle} (a stage of the same name is {ahead}#policy)")
      chain.append(ahead)
  for array, (name, output) in method.scoring.items():
    if name not in roles or output not in roles[name].outputs:
      outputs = ", ".join(f"{name}: {'/'.join(role.outputs)}" for name, role in roles.items())
      raise ValueError(f"scoring of {array}: no model {name!r} has an output {output!r} ({outputs})")
    if output in OF_PARAMETERS:
      read = f"outputs[{name!r}][{output!r}]"
      raise ValueError(f"scoring of {array}: {output} has no rows to score: a loss reads it as {read}")


def model_section(config: ConfigDict, role: ModelRole, models: Callable[[str], ModelModule]) -> dict[str, Any]:
  """Section `model` of a role: the config's section with the fields of the role. If the role names another kind of
  model, its defaults replace the config's section.

  Raises: ValueError: a field that the kind of model does not have.
  """
  own, changes = config.model.to_dict(), dict(role.config)
  name = changes.get("name", own["name"])
  defaults = {"name": name, **fields_of(models(name).get_config)}
  section = (defaults if name != own["name"] else own) | changes
  unknown = sorted(section.keys() - defaults.keys())
  if unknown:
    raise ValueError(f"no field {', '.join(unknown)}: {name} has {', '.join(sorted(defaults))}")
  return section


def _model(
  config: ConfigDict, name: str, role: ModelRole, vocabulary: int, models: Callable[[str], ModelModule]
) -> Model:
  try:
    section = ConfigDict(model_section(config, role, models))
    build = models(section.name).build
    check_call(build, "build", ("config", "vocabulary"), ("names", "heads", "temperature"))
    model = build(section, vocabulary, names=role.outputs, heads=role.heads, temperature=config.sampling.temperature)
  except ValueError as error:
    raise ValueError(f"{name}: {error}" if name != "policy" else str(error)) from error
  if not isinstance(model, Model):
    where = place_of_function(build)
    raise ValueError(f"build ({where}) gave a {type(model).__name__}, want a Model")
  return dataclasses.replace(model, trainable=role.trained) if callable(role.trained) else model


def _learning_rate(role: ModelRole, config: ConfigDict) -> float:
  return config.learning_rate if role.learning_rate is None else role.learning_rate


def _built(section: str, config, make, of=None):
  """Build a part; turn its ValueError into a UserError that names the part: the section's, or what it is built of."""
  try:
    return make()
  except ValueError as error:
    name = of or config[section].get("name", "")
    part = f"{section} {name if isinstance(name, str) else _described(name)}".strip()
    place = place_of(error)
    text = joined(str(error))
    raise UserError(f"{part} ({place}): {text}" if place else f"{part}: {text}") from error


def _described(part: Any) -> str:
  """Name of a part that is an object, by the function that builds it."""
  return f"{part.build.__module__}:{getattr(part.build, '__qualname__', 'build')}"


def check(config: ConfigDict) -> None:
  """Check fields against one another.

  Raises: UserError: names the field and a value that works.
  """
  ranges.check(config)
  _check_members(config)
  sizes_of(config)
  _built("sampling", config, lambda: sampling_from(config))
  mesh.rules(config.mesh.get("rules", {}), config.mesh.get("rollout_rules", {}))
  for name in ("evaluation.every_iterations", "checkpoint.every_iterations"):
    section, key = name.split(".")
    divides(config[section][key], config.logging.every_iterations, name, "logging.every_iterations")
  most = config.evaluation.samples_per_prompt
  for index, k in enumerate(config.evaluation.pass_at):
    if k > most:
      raise UserError(f"evaluation.pass_at[{index}]: want at most evaluation.samples_per_prompt ({most}), got {k}")
  if (blocks := config.evaluation.get("prompt_blocks", 0)) > config.evaluation.prompts:
    raise UserError(f"evaluation.prompt_blocks={blocks} are more than evaluation.prompts={config.evaluation.prompts}")
  divides(config.num_iterations, config.logging.every_iterations, "num_iterations", "logging.every_iterations")


def _check_members(config: ConfigDict) -> None:
  rates, count = learning_rates(config), config.num_seeds
  if not rates:
    return
  if config.learning_rate <= 0:
    raise UserError(f"learning_rate={config.learning_rate}: it is what learning_rates are multiples of; above 0")
  if count % len(rates):
    raise UserError(
      f"num_seeds={count} counts each seed once for each of the {len(rates)} learning_rates: take a multiple of it"
    )
