"""Memory of a run on a chip, and proposed changes if it does not fit."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from rl_jax.errors import UserError
from rl_jax.planning.chips import GIB, Chip
from rl_jax.training import mesh, state
from rl_jax.training.experiment import Experiment
from rl_jax.training.sizes import sizes_of
from rl_jax.training.state import TrainState

ROOM = 0.6
"""Largest share of memory for the state of a run in a proposed layout; programs need the rest."""

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class State(NamedTuple):
  """Bytes of a run's state on one chip."""

  parameters: float
  """Parameters of all models."""
  optimizer: float
  """Moments and master weights of the optimiser, and averages of parameters."""
  other: float
  """State of curriculum and rollout."""

  @property
  def total(self) -> float:
    """Bytes of the whole state."""
    return sum(self)


def state_bytes(seeds: TrainState) -> State:
  """Bytes of a state given as shapes, types and shardings."""
  models = seeds.models.values()
  parameters = _bytes([model.params for model in models])
  optimizer = _bytes([(model.optimizer, model.average) for model in models])
  return State(parameters, optimizer, _bytes(seeds) - parameters - optimizer)


def _bytes(tree: Any) -> float:
  size = lambda x: math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
  return float(sum(size(x) for x in jax.tree.leaves(tree)))


def asked_for(error: Exception) -> float | None:
  """Bytes of main memory that a refused program needs besides its arguments, from the compiler's error; None if this is
  another error or gives no number."""
  text = str(error)
  if "RESOURCE_EXHAUSTED" not in text:
    return None
  match = re.search(r"temporaries \(([\d.]+)([KMGT]?)\)", text) or re.search(r"\bUsed ([\d.]+)([KMGT]?)", text)
  return float(match[1]) * _UNITS[match[2]] if match else None


class Layout(NamedTuple):
  """A mesh, and the state of the run on each of its chips."""

  sizes: dict[str, int]
  state: State

  def flags(self) -> str:
    """Sizes as flags of a command line."""
    return " ".join(f"--config.mesh.{axis}={size}" for axis, size in self.sizes.items())


def propose(experiment: Experiment, devices: Sequence[Any], rows: int, chip: Chip) -> Layout | None:
  """Layout over all devices whose state leaves room on a chip, with the smallest tensor axis and then the smallest fsdp
  axis, as both cost traffic; otherwise the layout with the smallest state. None if no layout divides the rows of an
  iteration."""
  with jax.set_mesh(mesh.make_mesh({"data": len(devices), "fsdp": 1, "tensor": 1}, devices)):
    boxed = jax.eval_shape(lambda: state.init_seed(experiment, experiment.config.seed, None))
  layouts = list(_layouts(experiment, devices, rows, boxed))
  roomy = [layout for layout in layouts if layout.state.total <= ROOM * chip.hbm]
  if roomy:
    return min(roomy, key=lambda layout: (layout.sizes["tensor"], layout.sizes["fsdp"]))
  return min(layouts, key=lambda layout: layout.state.total, default=None)


def _layouts(experiment: Experiment, devices: Sequence[Any], rows: int, boxed: Any) -> Iterator[Layout]:
  heads = experiment.models["policy"].config.key_value_heads
  count, seeds = len(devices), experiment.config.num_seeds
  for tensor in (n for n in range(1, count + 1) if count % n == 0 and heads % n == 0):
    for fsdp in (n for n in range(1, count // tensor + 1) if count // tensor % n == 0):
      shape = {"data": count // tensor // fsdp, "fsdp": fsdp, "tensor": tensor}
      try:
        sizes_of(experiment.config, shape["data"] * fsdp).check(rows)
        device_mesh = mesh.make_mesh(shape, devices)
      except UserError:
        continue
      placed = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct((seeds, *x.shape), x.dtype, sharding=s),
        jax.eval_shape(nn.unbox, boxed),
        mesh.shardings(device_mesh, boxed, experiment.rules),
      )
      yield Layout(shape, state_bytes(placed))


def advice(
  experiment: Experiment,
  chip: Chip,
  device_mesh: jax.sharding.Mesh,
  current: State,
  proposed: Layout | None,
  large: str,
) -> list[str]:
  """Changes to try, the most promising first.

  Args:
    current: current layout of the state.
    large: the program that is too large, "reshard", "rollout" or "update".
  """
  config, model = experiment.config, experiment.models["policy"].config
  changes = []
  if proposed is not None and proposed.state.total < 0.95 * current.total:
    smaller = f"state {proposed.state.total / GIB:.1f} instead of {current.total / GIB:.1f} GiB per chip"
    changes.append(f"{proposed.flags()} ({smaller})")
  least = min(current.total, proposed.state.total if proposed else current.total)
  if least > ROOM * chip.hbm:
    chips = math.ceil(least * device_mesh.size / (ROOM * chip.hbm))
    changes.append(f"a topology of {chips} chips or more (the state of the run is {least / GIB:.1f} GiB per chip)")
  if model.dtype == "float32":
    changes.append("--config.model.dtype=bfloat16 (half the activations and the cache)")
  if large.startswith("update"):
    if model.remat == "none":
      changes.append("--config.model.remat=block (activations of one layer at a time, one more forward pass)")
    shards, group = mesh.batch_shards(device_mesh, experiment.rules), sizes_of(config).group or 1
    least_rows = math.lcm(shards, group)  # micro-batches hold whole groups
    if not config.rows_per_microbatch or config.rows_per_microbatch > least_rows:
      changes.append(f"--config.rows_per_microbatch={least_rows} ({least_rows // shards} rows per chip at a time)")
  else:
    if experiment.rollout_rules != experiment.rules:
      changes.append("no --config.mesh.rollout_rules (no second copy of the policy in another layout)")
    changes.append("fewer --config.prompts_per_iteration (a smaller cache)")
  if config.optimizer.state_dtype == "float32" and not model.lora_rank:
    changes.append("--config.optimizer.state_dtype=bfloat16 (half the moments)")
  if not model.lora_rank:
    changes.append("--config.model.lora_rank=16 (no moments and no second copy of the matrices)")
  return changes
