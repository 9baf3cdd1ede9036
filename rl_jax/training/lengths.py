"""Length buckets: rows sorted by length, in parts that run only as much as their longest rows need.

Each part has the cheapest of a few static layouts that holds it, chosen on device by a switch: one program, in which
every layout is compiled once. Rows of their own, and trees of several levels, run at one of a few widths. Responses
that share a prompt stay together, whatever their lengths, and are packed into some of their rows
(rl_jax/models/packing.py). Without buckets every row runs all slots. Results are equal up to the order of sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from rl_jax.models.packing import rows_needed
from rl_jax.trajectories import Trajectories


class Buckets(NamedTuple):
  """Layouts of buckets.

  Attributes:
    number: number of layouts: of widths, which evenly divide the slots after the text that all rows share, or of
      numbers of packed rows.
    seed_axis: name of the vmapped axis of seeds, which then all use one layout; None outside of such an axis.
    packs: the models can pack.
  """

  number: int
  seed_axis: str | None = None
  packs: bool = False

  def widths(self, rows: Trajectories) -> tuple[int, ...]:
    """Widths, from the narrowest to the full width."""
    shared = max([max(rows.prompt_width, 1), *(tree.starts[-1] for tree in rows.trees if tree.children)])
    width = rows.tokens.shape[1]
    return tuple(shared - (shared - width) * i // self.number for i in range(1, self.number + 1))

  def packed(self, rows: Trajectories) -> tuple[int, ...]:
    """Numbers of rows into which the responses of a prompt may be packed, up to all; () if they are not packed."""
    if not self.packs or len(rows.trees) != 1 or len(rows.trees[0].children) != 1 or rows.trees[0].size == 1:
      return ()
    group = rows.trees[0].size
    return tuple(sorted({-(-group * i // self.number) for i in range(1, self.number + 1)}))

  def needed(self, rows: Trajectories) -> Int[Array, " N"]:
    """Slots that each tree of rows (each row without trees) needs, or rows if they are packed."""
    block, lengths = rows.trees[0].size if rows.trees else 1, _lengths(rows)
    if not self.packed(rows):
      return lengths.reshape(-1, block).max(axis=1)
    start = rows.trees[0].starts[0]
    own = jnp.maximum(lengths - start, 0).reshape(-1, block)
    return rows_needed(own, rows.tokens.shape[1] - start)

  def order(self, rows: Trajectories) -> Int[Array, " B"]:
    """Indices of rows from those that need the most, with trees kept whole."""
    block = rows.trees[0].size if rows.trees else 1
    order = jnp.argsort(-self.needed(rows), stable=True)
    return (order[:, None] * block + jnp.arange(block)).reshape(-1)

  def switch(self, function: Callable[..., Any], rows: Trajectories, *more: Any) -> Any:
    """Return function(rows, *more), run in the cheapest layout that holds `rows`."""
    packed, most = self.packed(rows), self.needed(rows).max()
    if self.seed_axis is not None:  # one branch for all seeds: else all branches run, and one is selected
      most = jax.lax.pmax(most, self.seed_axis)
    field, sizes = ("run_rows", packed) if packed else ("run_width", self.widths(rows))
    # The last layout is that of all rows and slots, which needs no packing.
    within = lambda size: lambda rows, *more: function(rows.replace(**{field: size}), *more)
    layouts = [within(None if size == sizes[-1] else size) for size in sizes]
    return jax.lax.switch(jnp.searchsorted(jnp.asarray(sizes), most), layouts, rows, *more)

  def map(self, function: Callable[[Trajectories], Any], rows: Trajectories, parts: int) -> Any:
    """Return function(rows), computed in `parts` parts, each at its own width; results are equal row by row."""
    order = self.order(rows)
    ordered = jax.tree.map(lambda x: jnp.take(x, order, axis=0), rows)
    count = rows.tokens.shape[0]
    split = jax.tree.map(lambda x: x.reshape(parts, count // parts, *x.shape[1:]), ordered)
    results = jax.lax.map(lambda part: self.switch(function, part), split)
    back = jnp.argsort(order)
    return jax.tree.map(lambda x: jnp.take(x.reshape(count, *x.shape[2:]), back, axis=0), results)


def _lengths(rows: Trajectories) -> Int[Array, " B"]:
  """Number of slots up to and including a row's last token; 0 for a row that is not in use."""
  slots = jnp.arange(1, rows.tokens.shape[1] + 1)
  return jnp.max(jnp.where(rows.attention_mask & rows.row_mask[:, None], slots, 0), axis=1)
