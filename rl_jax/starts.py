"""Where a run's policy starts: `config.init_from`, a stage of its own config or another run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
from ml_collections import ConfigDict

from rl_jax import configs
from rl_jax.models import lora
from rl_jax.models.model import Model, Params
from rl_jax.runs.directory import find_run, flatten
from rl_jax.runs.files import read_json
from rl_jax.training import experiment, manifests
from rl_jax.training.checkpoints import Checkpoints
from rl_jax.training.errors import TrainingError
from rl_jax.training.seeds import learning_rates, member_seeds
from rl_jax.training.state import ModelState


class Start(NamedTuple):
  """Parameters that the policy starts with, and where they come from."""

  policy: Params
  """Without adapters: those of the run that it comes from are merged into their matrices."""
  origin: str
  sha256: str
  """Of the checkpoint's manifest, which holds the checksums of all its files."""
  warnings: list[str]
  """Damaged checkpoints that were passed over."""


def build(config: ConfigDict) -> experiment.Experiment:
  """The parts that a resolved config names."""
  roles = {role: configs.resolve_role(config[role].name) for role in configs.ROLES}
  return experiment.build(config, **roles)


def stage_config(config: ConfigDict, name: str) -> ConfigDict:
  """A stage's config: the whole one with the stage's fields in place of its own, and a start of its own.

  Raises: ConfigError: the stage has a field that is not known.
  """
  values = config.to_dict()  # dictionaries of its own; what stands in them may be an object that has no copy
  stage = dict(values["stages"][name])
  values |= {"init_from": stage.pop("init_from", ""), "method": stage.pop("method", values["method"])}
  values["stages"] = _needed(values["stages"], name, values["init_from"])
  return configs.resolve_config(values, flatten(stage))


def _needed(stages: dict, name: str, init_from: str) -> dict:
  """The stages that `init_from` leads to: others must not keep experiments from sharing stage `name`."""
  needed: dict = {}
  before = init_from.partition("@")[0]
  while before in stages and before not in (name, *needed):
    needed[before] = stages[before]
    before = stages[before].get("init_from", "").partition("@")[0]
  return needed


def stage_folder(config: ConfigDict, name: str, workdir: Path) -> Path:
  """Where a stage is kept: beside the run, by the hash of its config, length and code, so that experiments share it."""
  stage = stage_config(config, name)
  identity, _ = configs.identity(stage)
  code = [configs.source(configs.resolve_role(stage[role].name)) for role in configs.ROLES]
  digest = hashlib.sha256(json.dumps([identity, stage.num_iterations, code]).encode()).hexdigest()
  return workdir.parent / "stages" / f"{name}-{digest[:12]}"


def find(config: ConfigDict, workdir: Path, train: Callable[[ConfigDict, Path], bool]) -> Start | None:
  """The start of a run: `init_from`, or else the checkpoint of a pretrained model.

  None if the run draws its own parameters, or if a stage was stopped before its end.

  Args:
    train: trains a stage in a folder (or finds it done there); False if it was stopped.

  Raises: TrainingError: there is no such stage or run, or it does not fit.
  """
  name, _, expected = config.init_from.partition("@")
  if not name:
    return _pretrained(config)
  if name in config.stages:
    folder = stage_folder(config, name, workdir)
    if not train(stage_config(config, name), folder):
      return None
  elif re.search(r"[/\\]", name) or Path(name).is_dir():
    folder = Path(name)
  else:
    known = ", ".join(config.stages) or "none"
    raise TrainingError(f"init_from={name!r} is neither a stage of this config ({known}) nor the folder of a run")
  return _read(folder, config, expected)


def _pretrained(config: ConfigDict) -> Start | None:
  """The parameters that the config's model comes with; a model that is only a shape has no `start`."""
  role = configs.resolve_role(config.model.name)
  if not hasattr(role, "start"):
    return None
  try:
    params = role.start(config.model, build(config).models["policy"])
    sha256 = role.digest(config.model)
  except ValueError as error:
    raise TrainingError(f"model {config.model.name}: {error}") from error
  return Start(jax.tree.map(lambda x: x[None], params), config.model.checkpoint, sha256, [])


def _read(folder: Path, config: ConfigDict, expected: str) -> Start:
  """The policy of a run's newest checkpoint (its average, where it kept one), for a model like the config's."""
  source = find_run(folder)
  saved = ConfigDict(read_json(source.config))
  own = len(set(member_seeds(config)))
  if own % saved.num_seeds or learning_rates(saved):
    raise TrainingError(
      f"{folder} has {saved.num_seeds} seeds, this run {own}: start from a run of one learning rate, with 1 seed or as "
      "many, or a number that divides this run's"
    )
  model = _with_adapters_of(saved, build(config).models["policy"])
  abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct((saved.num_seeds, *x.shape), x.dtype),
    jax.eval_shape(nn.unbox, model.described),
  )
  average = model.trained(abstract) if saved.optimizer.parameter_average else None
  with Checkpoints(source.checkpoints) as checkpoints:
    restored = checkpoints.restore_subtree("seeds/models/policy", ModelState(abstract, average=average))
    sha256 = hashlib.sha256((source.checkpoints / str(restored.step) / manifests.NAME).read_bytes()).hexdigest()
  if not sha256.startswith(expected):
    raise TrainingError(f"{folder} is not the start asked for: its checkpoint has hash {sha256[:12]}, not {expected}")
  return Start(model.merged(restored.state.evaluated), str(folder), sha256, restored.warnings)


def _with_adapters_of(saved: ConfigDict, model: Model) -> Model:
  """The model with the adapters of a saved config, which may know nothing of adapters."""
  fields = {name: saved.model[name] for name in lora.FIELDS if name in saved.model}
  fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
  return dataclasses.replace(model, config=dataclasses.replace(model.base.config, **fields))
