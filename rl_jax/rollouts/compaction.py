"""Compaction: rows in use move into a smaller batch, and its results move back."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

SHARES = {"short": (4,), "long": (2, 8)}
"""A batch is left for one of a quarter of its rows as soon as those in use fit; if responses are long, for one of a
half, and that for one of an eighth. Each size is a loop more to compile, which short responses do not pay back."""

FEWEST = 16
"""Number of rows of the smallest batch: fewer rows save little time, since each step reads all parameters."""


def sizes(rows: int, *, long: bool) -> tuple[int, ...]:
  """Sizes of the batches that a batch of `rows` shrinks to, largest first.

  Args:
    long: True if responses are long.
  """
  return tuple(rows // share for share in SHARES["long" if long else "short"] if rows // share >= FEWEST)


@dataclasses.dataclass(frozen=True)
class Compaction:
  """First R of B rows, in an order that begins with the rows in use.

  Attributes:
    order: the rows of the batch, those in use first.
    size: R.
  """

  order: Int[Array, " B"]
  size: int

  @property
  def rows(self) -> Int[Array, " R"]:
    """Original row of each of the R rows."""
    return self.order[: self.size]

  def take(self, tree: Any, axis: int = 0) -> Any:
    """Arrays of R rows from arrays of B along an axis."""
    return jax.tree.map(lambda x: jnp.take(x, self.rows, axis=axis, unique_indices=True, mode="clip"), tree)

  def put(self, tree: Any, part: Any, axis: int = 0) -> Any:
    """Arrays of B rows `tree`, with the taken rows replaced by those of `part`."""
    place = jnp.argsort(self.order)

    def one(x: Array, new: Array) -> Array:
      taken = jnp.expand_dims(place < self.size, tuple(i for i in range(x.ndim) if i != axis))
      return jnp.where(taken, jnp.take(new, jnp.minimum(place, self.size - 1), axis=axis), x)

    return jax.tree.map(one, tree, part)


def compact(used: Bool[Array, " B"], size: int) -> Compaction:
  """The rows in use, at most `size`, padded with others."""
  return Compaction(jnp.argsort(~used, stable=True), size)
