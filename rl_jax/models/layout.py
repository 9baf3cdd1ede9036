"""Sharding of a model's rows and vocabulary on the mesh for which a program is traced."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax

from rl_jax.kernels.logprobs import Placement


def of_output(vocabulary: int) -> Placement | None:
  """The mesh axes of "batch" and "vocabulary" by the logical axis rules in force; None on one device.

  A vocabulary that its axis does not divide evenly is kept whole, as its parameters are.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.size == 1:
    return None
  axes: Any = nn.logical_to_mesh_axes(("batch", "vocabulary"))
  rows, tensor = axes
  rows = (rows,) if isinstance(rows, str) else tuple(rows or ())
  even = tensor is not None and vocabulary % mesh.shape[tensor] == 0
  return Placement(mesh, rows, tensor if even else None)


def row_shards() -> int:
  """Number of parts that the mesh splits rows into, by the logical axis rules in force; 1 on one device."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return 1
  spec: Any = nn.logical_to_mesh_axes(("batch",))
  axes = (spec[0],) if isinstance(spec[0], str) else spec[0] or ()
  return math.prod(mesh.shape.get(axis, 1) for axis in axes)
