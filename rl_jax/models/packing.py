"""Packing: the texts of a group's rows, end to end in fewer rows.

Each text goes, longest first, into the first row with room for it. A token sees its own text only, and the prompt that
the group shares.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int


class Placement(NamedTuple):
  """Places of the texts of N groups of G rows."""

  rows: Int[Array, "N G"]
  """Row of each text, among the first of its group."""
  offsets: Int[Array, "N G"]
  """First slot of each text there."""


def first_fit(lengths: Int[Array, "N G"], width: int) -> Placement:
  """Place texts of at most `width` slots by first fit, in decreasing order of their lengths."""
  order = jnp.argsort(-lengths, axis=1, stable=True)
  groups = jnp.arange(lengths.shape[0])

  def place(filled: Int[Array, "N G"], text: Int[Array, " N"]) -> tuple[Int[Array, "N G"], Placement]:
    length = lengths[groups, text]
    row = jnp.argmax(filled + length[:, None] <= width, axis=1)
    return filled.at[groups, row].add(length), Placement(row, filled[groups, row])

  _, placed = jax.lax.scan(place, jnp.zeros_like(lengths), order.T)
  back = jnp.argsort(order, axis=1)
  return Placement(*(jnp.take_along_axis(x.T, back, axis=1) for x in placed))


def rows_needed(lengths: Int[Array, "N G"], width: int) -> Int[Array, " N"]:
  """Number of rows of `width` slots that the texts of each group take."""
  rows = first_fit(lengths, width).rows
  return jnp.max(jnp.where(lengths > 0, rows + 1, 0), axis=1)


class Packing(NamedTuple):
  """Slots of N groups: of G texts in W slots each, and of the R rows that they are packed into."""

  sources: Int[Array, "N R*W"]
  """Slot of the texts in each packed slot; G W in empty ones."""
  places: Int[Array, "N G*W"]
  """Packed slot of each slot of the texts; R W after the end of a text."""

  def pack(self, x: Array, rows: int) -> Array:
    """Rows [N*R, W, ...] from texts [N*G, W, ...], 0 in empty slots."""
    return _moved(x, self.sources, rows)

  def unpack(self, x: Array, rows: int) -> Array:
    """Texts [N*G, W, ...] from rows [N*R, W, ...], 0 after their ends."""
    return _moved(x, self.places, rows)

  def ends(self, lengths: Int[Array, "N G"]) -> Int[Array, "N G"]:
    """Packed slot of the last token of each text; any slot for an empty one."""
    places = self.places.reshape(*lengths.shape, -1)
    last = jnp.take_along_axis(places, jnp.maximum(lengths - 1, 0)[:, :, None], axis=2)[:, :, 0]
    return jnp.minimum(last, self.sources.shape[1] - 1)


def packing(lengths: Int[Array, "N G"], width: int, rows: int) -> Packing:
  """Pack texts into `rows` rows of `width` slots, at least as many as `rows_needed`."""
  groups, texts = lengths.shape
  placed = first_fit(lengths, width)
  slots = jnp.arange(width)
  inside = slots < lengths[:, :, None]
  first = placed.rows * width + placed.offsets
  places = jnp.where(inside, first[:, :, None] + slots, rows * width).reshape(groups, -1)
  empty = jnp.full((groups, rows * width), texts * width)
  sources = empty.at[jnp.arange(groups)[:, None], places].set(jnp.arange(texts * width), mode="drop")
  return Packing(sources, places)


def _moved(x: Array, index: Int[Array, "N M"], rows: int) -> Array:
  """Slots of each group at `index`, in rows; 0 where the index is none of them."""
  groups = index.shape[0]
  flat = x.reshape(groups, -1, *x.shape[2:])
  wide = index.reshape(*index.shape, *[1] * (flat.ndim - 2))
  moved = jnp.take_along_axis(flat, jnp.minimum(wide, flat.shape[1] - 1), axis=1)
  moved = jnp.where(wide < flat.shape[1], moved, jnp.zeros((), x.dtype))
  return moved.reshape(groups * rows, -1, *x.shape[2:])
