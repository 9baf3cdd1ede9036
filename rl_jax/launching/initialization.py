"""Initial parameters of a run's models: from stages of its config, other runs or pretrained checkpoints."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.models import lora
from rl_jax.models.model import Model, Params
from rl_jax.runs.differences import flatten
from rl_jax.runs.directory import RunDirectory, find_run
from rl_jax.runs.files import read_json
from rl_jax.training import experiment, manifests
from rl_jax.training.checkpoints import Checkpoints
from rl_jax.training.optimizer import averages
from rl_jax.training.seeds import learning_rates, member_seeds
from rl_jax.training.state import ModelState


class Start(NamedTuple):
  """Initial parameters of a model, and their origin."""

  params: Params
  """Parameters without adapters: those of the source run are merged into the matrices."""
  origin: str
  sha256: str
  """SHA-256 of the checkpoint's manifest, which holds the checksums of all its files."""
  warnings: list[str]
  """Warnings about damaged checkpoints that were skipped."""


class Stage(NamedTuple):
  """Stage that a model starts from."""

  name: str
  config: ConfigDict
  folder: Path
  depth: int
  """0 for a stage of the run itself, 1 for a stage of such a stage, and so on."""


class StartName(NamedTuple):
  """Parts of an `init_from`."""

  place: str
  """A stage, or the folder of a run."""
  role: str
  digest: str
  """First digits of a hash; "" accepts any start."""


def parsed(init_from: str) -> StartName:
  """Parts of "stage or folder[#role][@hash]". A folder's path may contain both characters and begin with ~.

  >>> parsed("runs/me@lab/run#critic@0123abcd")
  StartName(place='runs/me@lab/run', role='critic', digest='0123abcd')
  """
  init_from = os.path.expanduser(init_from)
  if os.path.isdir(init_from):  # False, and no error, for any text
    return StartName(init_from, "policy", "")
  match = re.fullmatch(r"(.*?)(?:#([^#@/\\]+))?(?:@([0-9a-f]+))?", init_from, re.DOTALL)
  assert match is not None, "all of it is optional"
  return StartName(match[1], match[2] or "policy", match[3] or "")


def build(config: ConfigDict) -> experiment.Experiment:
  """The parts that a resolved config names."""
  role = lambda name: configs.resolve_role(config[name].name)
  return experiment.build(config, task=role("task"), method=role("method"), models=configs.resolve_role)


def stage_config(config: ConfigDict, name: str) -> ConfigDict:
  """Config of a stage: the full config with the stage's fields, and its own start.

  Raises: UserError: the stage has a field that is not known.
  """
  values = config.to_dict()  # new dictionaries; a value may be an object that cannot be copied
  stage = dict(values["stages"][name])
  values |= {"init_from": stage.pop("init_from", ""), "method": stage.pop("method", values["method"])}
  values["stages"] = _needed(values["stages"], name, [values["init_from"], *flatten(values["method"]).values()])
  return configs.resolve_config(values, flatten(stage))


def _needed(stages: dict[str, Any], name: str, fields: Iterable[Any]) -> dict[str, Any]:
  """The stages that one of these fields leads to: others must not keep experiments from sharing stage `name`."""
  required: dict[str, Any] = {}
  open_fields = list(fields)
  while open_fields:
    field = open_fields.pop()
    before = parsed(field).place if isinstance(field, str) else ""
    if before in stages and before not in (name, *required):
      required[before] = stages[before]
      open_fields += [stages[before].get("init_from", ""), *flatten(stages[before].get("method", {})).values()]
  return required


def stage_folder(config: ConfigDict, name: str, workdir: Path) -> Path:
  """Folder of a stage, next to the run or to the stage that starts from it.

  Its name contains a hash of the stage's config, length and code, so that experiments share it.
  """
  stage = stage_config(config, name)
  identity, _ = configs.identity(stage)
  code = [configs.source(configs.resolve_role(stage[role].name)) for role in configs.ROLES]
  digest = hashlib.sha256(json.dumps([identity, stage.num_iterations, code]).encode()).hexdigest()
  beside = workdir.parent if workdir.parent.name == "stages" else workdir.parent / "stages"
  return beside / f"{name}-{digest[:12]}"


def stages_before(built: experiment.Experiment, workdir: Path, depth: int = 0) -> Iterator[Stage]:
  """Stages that are trained before a run, or were, the last one first. Those before a stage with a checkpoint are not
  needed any more.

  Raises: UserError: a stage cannot be built, or gives no start to the model that wants it; or another run does not
    exist. Without this check it would come to light when all stages before are trained.
  """
  seen: set[str] = set()
  for role, init_from in _starts(built).items():
    name, source, _ = parsed(init_from)
    if _other_run(built.config, name):
      find_run(name)
      continue
    folder = stage_folder(built.config, name, workdir)
    try:
      before = build(stage_config(built.config, name))
    except UserError as error:
      raise UserError(f"stage {name}: {error}") from error
    with contextlib.closing(before.task):
      _check_fit(f"stage {name}", before, source, built, role)
      if name in seen:
        continue
      seen.add(name)
      yield Stage(name, before.config, folder, depth)
      with Checkpoints(RunDirectory(folder).checkpoints) as checkpoints:
        saved = bool(checkpoints.steps())
      if not saved:
        yield from stages_before(before, folder, depth + 1)


def _starts(built: experiment.Experiment) -> dict[str, str]:
  """`init_from` of the models that start from a stage or another run, by role."""
  roles = built.method.models
  own = {name: built.config.init_from if name == "policy" else role.init_from for name, role in roles.items()}
  return {name: init_from for name, init_from in own.items() if init_from and init_from not in roles}


def _check_fit(what: str, before: experiment.Experiment, source: str, built: experiment.Experiment, role: str) -> None:
  """Raise UserError if a model of a stage cannot be the start of a model."""
  _check_seeds(what, before.config, built.config)
  if source not in before.models:
    raise UserError(f"{what} has no model {source!r}: it has {', '.join(sorted(before.models))}")
  shapes = lambda model: {"/".join(path): x.shape for path, x in flatten_dict(nn.unbox(model.base.abstract)).items()}
  start, own = shapes(before.models[source]), shapes(built.models[role])
  for name in sorted(start.keys() | own.keys()):
    if start.get(name) != own.get(name):
      others = ", ".join(f"#{other}" for other in sorted(before.models) if other != source)
      raise UserError(
        f"{what}: its model {source!r} is no start for {role!r}: {name} is {start.get(name, 'absent')} there and "
        f"{own.get(name, 'absent')} here; give both the same fields of `model`"
        + (f", or name another of its models ({others})" if others else "")
      )


def find(
  built: experiment.Experiment,
  workdir: Path,
  train: Callable[[ConfigDict, Path], bool],
  *,
  init_from: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Start] | None:
  """Starts of a run's models by role, from `init_from` or else from the checkpoint of a pretrained model.

  A model that draws its own parameters, or takes those of another role, has no start. Returns None if a stage was
  stopped before its end.

  Args:
    train: trains a stage in a folder, or finds it finished there; False if it was stopped.
    init_from: replacements for the `init_from` of some roles.

  Raises: UserError: there is no such stage or run, or it does not fit.
  """
  starts: dict[str, Start] = {}
  for name, role in built.method.models.items():
    if role.init_from in built.method.models:
      continue
    own = built.config.init_from if name == "policy" else role.init_from
    leads_to = init_from.get(name, own)
    if leads_to:
      start = _led_to(built, name, leads_to, workdir, train)
      if start is None:
        return None
    else:
      start = _pretrained(built, name)
    if start is not None:
      starts[name] = start
  return starts


def random_for_good(built: experiment.Experiment, starts: Mapping[str, Start]) -> list[str]:
  """Frozen models besides the policy that have no start and take no other model's parameters: they stay as drawn."""
  roles = built.method.models
  return [
    name
    for name, role in roles.items()
    if name != "policy" and not role.trained and name not in starts and role.init_from not in roles
  ]


def _other_run(config: ConfigDict, name: str) -> bool:
  """Return whether the place of an `init_from` is the folder of a run, not a stage. Raises UserError: it is neither."""
  if name in config.stages:
    return False
  if re.search(r"[/\\]", name) or Path(name).is_dir():
    return True
  stages = ", ".join(config.stages) or "none"
  raise UserError(f"init_from={name!r} is neither a stage of this config ({stages}) nor the folder of a run")


def _led_to(
  built: experiment.Experiment, role: str, init_from: str, workdir: Path, train: Callable[[ConfigDict, Path], bool]
) -> Start | None:
  """Start named by `init_from`, "stage or folder[#role][@hash]"; None if its stage was stopped."""
  config = built.config
  name, source, expected = parsed(init_from)
  if _other_run(config, name):
    folder = Path(name)
  else:
    folder = stage_folder(config, name, workdir)
    if not train(stage_config(config, name), folder):
      return None
  return _read(folder, config, built.models[role], source, expected)


def _pretrained(built: experiment.Experiment, role: str) -> Start | None:
  """Parameters that come with a role's section `model`; None for a model without `start`, which is only a shape."""
  model, config = built.models[role], built.config
  section = ConfigDict(experiment.model_section(config, built.method.models[role], configs.resolve_role))
  module = configs.resolve_role(section.name)
  if not hasattr(module, "start") or model.of_heads:
    return None
  try:
    params = module.start(section, model)
    sha256 = module.digest(section)
  except ValueError as error:
    raise UserError(f"model {section.name}: {error}") from error
  return Start(jax.tree.map(lambda x: x[None], params), section.checkpoint, sha256, [])


def _read(folder: Path, config: ConfigDict, model: Model, role: str, expected: str) -> Start:
  """Parameters of a model in a run's newest checkpoint (its average, if it kept one), for a model of this shape."""
  source = find_run(folder)
  saved = ConfigDict(read_json(source.config))
  _check_seeds(str(folder), saved, config)
  with Checkpoints(source.checkpoints) as checkpoints:
    contents = _ModelContents(checkpoints.leaves(), role)
    if contents.roles and role not in contents.roles:
      raise UserError(f"{folder} has no model {role!r}: it has {', '.join(sorted(contents.roles))}")
    if contents.adapters and role != "policy":
      raise UserError(
        f"{folder}: its model {role!r} has adapters, whose scale only its own method knows: start from its policy"
      )
    model = _with_adapters_of(saved, model) if contents.adapters else model.base
    abstract = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct((saved.num_seeds, *x.shape), x.dtype),
      jax.eval_shape(nn.unbox, model.abstract),
    )
    average = contents.average_of(averages(saved.optimizer, abstract))
    restored = checkpoints.restore_subtree(contents.folder, ModelState(abstract, average=average))
    sha256 = manifests.digest(source.checkpoints / str(restored.step))
  if not sha256.startswith(expected):
    raise UserError(f"{folder} is not the start asked for: its checkpoint has hash {sha256[:12]}, not {expected}")
  return Start(model.merged(restored.state.evaluated), str(folder), sha256, restored.warnings)


def _check_seeds(what: str, saved: ConfigDict, config: ConfigDict) -> None:
  """Raise UserError if a run has not a start for each seed of another, or for each of its members where it has several
  learning rates."""
  own, rates, own_rates = len(set(member_seeds(config))), learning_rates(saved), learning_rates(config)
  several_rates = len(rates) > 1
  if several_rates and saved.num_seeds == config.num_seeds and (len(own_rates) <= 1 or len(own_rates) == len(rates)):
    return
  if several_rates or own % saved.num_seeds:
    several = f" at {len(rates)} learning rates" if several_rates else ""
    raise UserError(
      f"{what} has {saved.num_seeds} seeds{several}, this run {own}: start from a run of one learning rate, with 1 "
      "seed or as many, or a number that divides this run's; or from one with as many rates and members"
    )


class _ModelContents(NamedTuple):
  """Contents of a checkpoint for one model. A frozen model has neither adapters nor an average; a trained model
  averages the parameters that it trains."""

  leaves: set[str]
  role: str

  @property
  def roles(self) -> set[str]:
    """The models of the run."""
    return {name.split("/")[2] for name in self.leaves if name.startswith("seeds/models/")}

  @property
  def folder(self) -> str:
    """Folder of the model in the checkpoint."""
    return f"seeds/models/{self.role}"

  @property
  def adapters(self) -> bool:
    """True if the model has adapters."""
    return any(name.startswith(f"{self.folder}/params/") and lora.is_adapter(name) for name in self.leaves)

  def average_of(self, params: Params) -> Params | None:
    """`params`, with None for parameters without an average; None if no parameter has one."""
    flat = flatten_dict(params)
    averaged = {path: x for path, x in flat.items() if "/".join((self.folder, "average", *path)) in self.leaves}
    return unflatten_dict({**dict.fromkeys(flat), **averaged}) if averaged else None


def _with_adapters_of(saved: ConfigDict, model: Model) -> Model:
  """The model with the adapters of a saved config, which may be older than adapters."""
  fields = {name: saved.model[name] for name in lora.FIELDS if name in saved.model}
  fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
  return dataclasses.replace(model, config=dataclasses.replace(model.base.config, **fields))
