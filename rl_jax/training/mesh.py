"""The device mesh, and the sharding of logical axes over it.

A config's section `mesh` has the sizes of the mesh axes and, in `rules`, changes to the table `RULES` below (logical
axis to mesh axes): --config.mesh.rules.width= keeps matrices whole, --config.mesh.rules.width=fsdp,tensor splits them
over both. Its `rollout_rules` are further changes during generation: see `rl_jax.training.rollout_layout`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from rl_jax.errors import UserError

AXES = ("data", "fsdp", "tensor")

RULES = (
  ("batch", ("data", "fsdp")),
  ("time", None),
  ("activation", None),
  ("norm", None),
  ("width", "fsdp"),
  ("vocabulary", "tensor"),
  ("heads", "tensor"),
  ("key_value_heads", "tensor"),
  ("feed_forward", "tensor"),
  ("rank", None),
)
"""Mesh axes of each logical axis: rows over data and fsdp, parameters over fsdp and tensor."""

Rules = tuple[tuple[str, Any], ...]
"""Type of `RULES`."""


def rules(*changes: Mapping[str, str]) -> Rules:
  """`RULES` with changes, later ones over earlier ones: logical axis -> mesh axes with commas, "" for none.

  Raises: UserError: an unknown logical or mesh axis, or a repeated one.
  """
  table: dict[str, Any] = dict(RULES)
  for name, mesh_axes in ((name, mesh_axes) for change in changes for name, mesh_axes in change.items()):
    axes = tuple(axis.strip() for axis in str(mesh_axes).split(",") if axis.strip())
    if name not in table:
      raise UserError(f"mesh rules: there is no logical axis {name!r} (known: {', '.join(table)})")
    if not set(axes) <= set(AXES) or len(set(axes)) < len(axes):
      raise UserError(f"mesh rules: {name}={mesh_axes!r}: name axes of the mesh ({', '.join(AXES)}), each once")
    table[name] = axes[0] if len(axes) == 1 else axes or None
  return tuple(table.items())


def make_mesh(section: ConfigDict | Mapping[str, int], among: Sequence[Any] | None = None) -> Mesh:
  """Mesh of a config's section `mesh`: devices along data, fsdp and tensor. One size may be -1: all remaining devices.

  Args:
    among: devices to use; None: those of this process.

  Raises: UserError: too few devices, or a number that does not divide.
  """
  among = jax.devices() if among is None else among
  devices, sizes = len(among), [section[axis] for axis in AXES]
  fixed = math.prod(size for size in sizes if size != -1)
  layout = ", ".join(f"{axis}={size}" for axis, size in zip(AXES, sizes, strict=True))
  if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
    raise UserError(f"mesh: {layout}: sizes are positive, and at most one is -1 (all remaining devices)")
  if fixed > devices or (-1 in sizes and devices % fixed):
    raise UserError(f"mesh: {layout} does not fit {devices} devices: change --config.mesh.data and its like")
  shape = [devices // fixed if size == -1 else size for size in sizes]
  if math.prod(shape) < devices and jax.process_count() > 1:
    raise UserError(f"mesh: {layout} leaves some of {devices} devices out: with several processes it must use all")
  try:
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * 3, devices=among[: math.prod(shape)])
  except RuntimeError as error:  # chips that are linked in a torus
    raise UserError(
      f"mesh: {layout} does not match the torus of these devices: each axis is a product of torus dimensions"
    ) from error


def batch_shards(mesh: Mesh | AbstractMesh, rules: Rules) -> int:
  """Number of shards of the batch of rows."""
  axes = dict(rules)["batch"]
  return math.prod(mesh.shape.get(axis, 1) for axis in _tuple(axes) if axes)


@contextlib.contextmanager
def use(mesh: Mesh, rules: Rules) -> Iterator[None]:
  """Context in which programs for the mesh are traced and run."""
  with jax.set_mesh(mesh), nn.logical_axis_rules(rules):
    yield


def shardings(mesh: Mesh, boxed: Any, rules: Rules) -> Any:
  """Shardings of arrays with a leading axis of seeds, from a tree of one seed's boxed parameters.

  A dimension that the mesh does not divide evenly is not sharded.
  """
  return jax.tree.map(lambda spec: NamedSharding(mesh, PartitionSpec(None, *spec)), specs(mesh, boxed, rules))


def specs(mesh: Mesh | AbstractMesh, boxed: Any, rules: Rules) -> Any:
  """Partition specs of one seed's arrays, from `shardings` without the axis of seeds."""
  proposed = nn.logical_to_mesh(nn.get_partition_spec(boxed), rules)
  shapes = jax.eval_shape(nn.unbox, boxed)

  def even(leaf, spec):
    names = [*spec, *[None] * (len(leaf.shape) - len(spec))]
    divides = lambda i, name: leaf.shape[i] % math.prod(mesh.shape[n] for n in _tuple(name)) == 0
    return PartitionSpec(*(name if name is None or divides(i, name) else None for i, name in enumerate(names)))

  return jax.tree.map(even, shapes, proposed)


def _tuple(name) -> tuple[str, ...]:
  return name if isinstance(name, tuple) else (name,)


def rows(mesh: Mesh, rules: Rules) -> Any:
  """Function that gives an abstract array [seeds, rows, ...] the sharding of rows."""
  shards = NamedSharding(mesh, PartitionSpec(None, dict(rules)["batch"]))
  return lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=shards)


def replicated(mesh: Mesh) -> NamedSharding:
  """Sharding that keeps an array whole on every device."""
  return NamedSharding(mesh, PartitionSpec())


def fetched(tree: Any) -> Any:
  """The full tree in host memory, even if parts of it are on devices of other processes."""

  def one(x):
    elsewhere = isinstance(x, jax.Array) and not (x.is_fully_addressable or x.is_fully_replicated)
    return multihost_utils.process_allgather(x, tiled=True) if elsewhere else np.asarray(x)

  return jax.tree.map(one, tree)
