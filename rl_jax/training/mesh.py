"""The device mesh, and how logical axes are laid over it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from rl_jax.training.errors import TrainingError

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
"""Logical axis to mesh axes: rows over data and fsdp, parameters over fsdp and tensor."""


def make_mesh(section, among: Sequence[Any] | None = None) -> Mesh:
  """The mesh of a config's section `mesh`: devices along data, fsdp and tensor; one of them may be -1, all the rest.

  Args:
    among: the devices to take; None: those of this process.

  Raises: TrainingError when the devices do not suffice or do not divide.
  """
  among = jax.devices() if among is None else among
  devices, sizes = len(among), [section[axis] for axis in AXES]
  fixed = math.prod(size for size in sizes if size != -1)
  asked = ", ".join(f"{axis}={size}" for axis, size in zip(AXES, sizes, strict=True))
  if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
    raise TrainingError(f"mesh: {asked}: sizes are positive, and at most one is -1 (all the rest)")
  if fixed > devices or (-1 in sizes and devices % fixed):
    raise TrainingError(f"mesh: {asked} does not fit {devices} devices: change --config.mesh.data and its like")
  shape = [devices // fixed if size == -1 else size for size in sizes]
  try:
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * 3, devices=among[: math.prod(shape)])
  except RuntimeError as error:  # of chips that are linked in a torus
    raise TrainingError(
      f"mesh: {asked} does not lie on the links of these devices: each size is a product of sides of their topology"
    ) from error


def batch_shards(mesh: Mesh) -> int:
  """Into how many parts rows are split."""
  return mesh.shape["data"] * mesh.shape["fsdp"]


def batch_shards_here() -> int:
  """The same for the mesh that a program is being traced for; 1 without one."""
  sizes = dict(jax.sharding.get_abstract_mesh().shape)
  return sizes.get("data", 1) * sizes.get("fsdp", 1)


@contextlib.contextmanager
def use(mesh: Mesh):
  """The context in which programs for the mesh are traced and run."""
  with jax.set_mesh(mesh), nn.logical_axis_rules(RULES):
    yield


def shardings(mesh: Mesh, boxed: Any) -> Any:
  """A sharding per array of a tree that holds one seed's boxed parameters; the arrays themselves lead with seeds.

  A dimension that the mesh does not divide evenly is kept whole.
  """
  specs = nn.logical_to_mesh(nn.get_partition_spec(boxed), RULES)
  shapes = jax.eval_shape(nn.unbox, boxed)

  def sharding(leaf, spec):
    names = [*spec, *[None] * (len(leaf.shape) - len(spec))]
    even = [
      name if name is None or leaf.shape[i] % math.prod(mesh.shape[n] for n in _tuple(name)) == 0 else None
      for i, name in enumerate(names)
    ]
    return NamedSharding(mesh, PartitionSpec(None, *even))

  return jax.tree.map(sharding, shapes, specs)


def _tuple(name) -> tuple[str, ...]:
  return name if isinstance(name, tuple) else (name,)


def rows(mesh: Mesh) -> Any:
  """A function that lays an abstract array [seeds, rows, ...] over the mesh as rows are: over data and fsdp."""
  shards = NamedSharding(mesh, PartitionSpec(None, ("data", "fsdp")))
  return lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=shards)


def replicated(mesh: Mesh) -> NamedSharding:
  """Whole on every device."""
  return NamedSharding(mesh, PartitionSpec())
