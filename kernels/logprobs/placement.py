"""Placement of rows and vocabulary over a mesh."""

from __future__ import annotations

import math
from typing import NamedTuple

from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from rl_jax.kernels.logprobs.readout import Readout


class Placement(NamedTuple):
  """The mesh, its axes that split rows, and its axis that splits the vocabulary (None: whole on every device).

  Forward moves arrays [N] over the vocabulary's axis; backward sums d hidden [N, D] over it and d matrix over `rows`.
  """

  mesh: Mesh | AbstractMesh
  rows: tuple[str, ...] = ("data",)
  vocabulary: str | None = "tensor"

  def specs(self, readout: Readout) -> tuple[PartitionSpec, PartitionSpec]:
    """Partition specs of arrays with one entry per row, and of the matrix."""
    matrix: list[str | None] = [None, None]
    matrix[readout.vocabulary_axis] = self.vocabulary
    return PartitionSpec(self.rows), PartitionSpec(*matrix)

  @property
  def vocabulary_axes(self) -> tuple[str, ...]:
    """The vocabulary's axis as a tuple of none or one."""
    return () if self.vocabulary is None else (self.vocabulary,)

  def shards(self, axes: tuple[str, ...]) -> int:
    """Number of devices along axes of the mesh."""
    return math.prod(self.mesh.shape[name] for name in axes)

  def check(self, name: str, rows: int, vocabulary: int) -> None:
    """Raise ValueError, for a function of this name, unless rows and vocabulary go evenly over their devices."""
    for what, size, axes in (("rows", rows, self.rows), ("tokens", vocabulary, self.vocabulary_axes)):
      if size % self.shards(axes):
        devices = f"the {self.shards(axes)} devices of mesh axes {axes}"
        raise ValueError(f"{name}: {size} {what} do not divide over {devices}")
