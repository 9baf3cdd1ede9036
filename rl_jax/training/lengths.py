"""Length buckets: rows sorted by length, in parts that run only as much as their longest rows need.

Each part has the cheapest of a few static layouts that holds it, chosen on device by a switch: one program, in which
every layout is compiled once. All rows run at one of a few widths, or responses that share a prompt, which stay
together whatever their lengths, are packed into some of their rows (rl_jax/models/packing.py). Without buckets every
row runs all slots. Results are equal up to the order of sums, but outputs after the end of a text may be 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from rl_jax.models.packing import rows_needed
from rl_jax.trajectories import Trajectories


class Layout(NamedTuple):
  """Slots and rows that run; see the fields of the same names of `Trajectories`."""

  cost: int
  """Number of slots for each tree of rows, after the text that all of its rows share."""
  run_width: int | None = None
  run_rows: int | None = None


class Buckets(NamedTuple):
  """Layouts of buckets.

  Attributes:
    number: number of widths, which evenly divide the slots after the text that all rows share, and of numbers of packed
      rows.
    seed_axis: name of the vmapped axis of seeds, which then all use one layout; None outside of such an axis.
    packs: the models can pack.
  """

  number: int
  seed_axis: str | None = None
  packs: bool = False

  def layouts(self, rows: Trajectories) -> tuple[Layout, ...]:
    """Layouts from the cheapest to that of all rows and slots; of two that cost the same the narrower one is first."""
    block, shared, width = _block(rows), _shared(rows), rows.tokens.shape[1]
    widths = (shared - (shared - width) * i // self.number for i in range(1, self.number))
    layouts = [Layout(block * (each - shared), run_width=each) for each in widths]
    if self._packable(rows):
      counts = sorted({-(-block * i // self.number) for i in range(1, self.number)} - {block})
      layouts += [Layout(count * (width - shared), run_rows=count) for count in counts]
    return (*sorted(layouts, key=lambda layout: layout.cost), Layout(block * (width - shared)))

  def _packable(self, rows: Trajectories) -> bool:
    return self.packs and len(rows.trees) == 1 and len(rows.trees[0].children) == 1 and _block(rows) > 1

  def fits(self, rows: Trajectories) -> Bool[Array, "N L"]:
    """Trees of rows (rows without trees) that each of L layouts holds."""
    layouts, lengths = self.layouts(rows), _lengths(rows).reshape(-1, _block(rows))
    longest, width, held = lengths.max(axis=1), rows.tokens.shape[1], []
    packed = rows_needed(jnp.maximum(lengths - _shared(rows), 0), width - _shared(rows)) if self._packable(rows) else 0
    for layout in layouts:
      held.append(longest <= (layout.run_width or width) if layout.run_rows is None else packed <= layout.run_rows)
    return jnp.stack(held, axis=1)

  def order(self, rows: Trajectories) -> Int[Array, " B"]:
    """Indices of rows from the costliest to the cheapest, with trees kept whole; trees of several shapes stay in their
    order."""
    block, count = _block(rows), rows.tokens.shape[0]
    if len(rows.trees) > 1:
      return jnp.arange(count)
    longest = _lengths(rows).reshape(-1, block).max(axis=1)
    order = jnp.lexsort((-longest, -jnp.argmax(self.fits(rows), axis=1)))
    return (order[:, None] * block + jnp.arange(block)).reshape(-1)

  def switch(self, function: Callable[..., Any], rows: Trajectories, *more: Any) -> Any:
    """Return function(rows, *more), run in the cheapest layout that holds `rows`."""
    held = self.fits(rows).all(axis=0)
    if self.seed_axis is not None:  # one branch for all seeds: else all branches run, and one is selected
      held = jax.lax.pmin(held.astype(jnp.int32), self.seed_axis) > 0
    within = lambda layout: (
      lambda rows, *more: function(rows.replace(run_width=layout.run_width, run_rows=layout.run_rows), *more)
    )
    return jax.lax.switch(jnp.argmax(held), [within(layout) for layout in self.layouts(rows)], rows, *more)

  def map(self, function: Callable[[Trajectories], Any], rows: Trajectories, parts: int) -> Any:
    """Return function(rows), computed in `parts` parts, each in its own layout; results are equal row by row."""
    order = self.order(rows)
    ordered = jax.tree.map(lambda x: jnp.take(x, order, axis=0), rows)
    count = rows.tokens.shape[0]
    split = jax.tree.map(lambda x: x.reshape(parts, count // parts, *x.shape[1:]), ordered)
    results = jax.lax.map(lambda part: self.switch(function, part), split)
    back = jnp.argsort(order)
    return jax.tree.map(lambda x: jnp.take(x.reshape(count, *x.shape[2:]), back, axis=0), results)


def _block(rows: Trajectories) -> int:
  """Number of rows of each tree; trees of several shapes are taken row by row."""
  return rows.trees[0].size if len(rows.trees) == 1 else 1


def _shared(rows: Trajectories) -> int:
  """Slots of the text that all rows share with others, or that all layouts run."""
  return max([max(rows.prompt_width, 1), *(tree.starts[-1] for tree in rows.trees if tree.children)])


def _lengths(rows: Trajectories) -> Int[Array, " B"]:
  """Number of slots up to and including a row's last token; 0 for a row that is not in use."""
  slots = jnp.arange(1, rows.tokens.shape[1] + 1)
  return jnp.max(jnp.where(rows.attention_mask & rows.row_mask[:, None], slots, 0), axis=1)
