"""Length buckets: rows sorted by length, in parts that run only the slots of their longest row.

Each part runs at the narrowest of a few static widths that holds it, chosen on device by a switch: one program, in
which every width is compiled once. Without buckets every row runs all slots. Results are equal up to the order of sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from rl_jax.trajectories import Trajectories


class Buckets(NamedTuple):
  """Widths of buckets.

  Attributes:
    number: number of widths, which evenly divide the slots after the text that all rows share.
    seed_axis: name of the vmapped axis of seeds, which then all use one width; None outside of such an axis.
  """

  number: int
  seed_axis: str | None = None

  def widths(self, rows: Trajectories) -> tuple[int, ...]:
    """Widths, from the narrowest to the full width."""
    shared = max([max(rows.prompt_width, 1), *(tree.starts[-1] for tree in rows.trees if tree.children)])
    width = rows.tokens.shape[1]
    return tuple(shared - (shared - width) * i // self.number for i in range(1, self.number + 1))

  def order(self, rows: Trajectories) -> Int[Array, " B"]:
    """Indices of rows from the longest to the shortest, with trees kept whole."""
    block = rows.trees[0].size if rows.trees else 1
    order = jnp.argsort(-_lengths(rows).reshape(-1, block).max(axis=1), stable=True)
    return (order[:, None] * block + jnp.arange(block)).reshape(-1)

  def switch(self, function: Callable[..., Any], rows: Trajectories, *more: Any) -> Any:
    """Return function(rows, *more), run at the narrowest width that holds `rows`."""
    widths, longest = self.widths(rows), _lengths(rows).max()
    if self.seed_axis is not None:  # one branch for all seeds: else all branches run, and one is selected
      longest = jax.lax.pmax(longest, self.seed_axis)
    at_width = lambda width: lambda rows, *more: function(rows.replace(run_width=width), *more)
    bucket = jnp.searchsorted(jnp.asarray(widths), longest)
    return jax.lax.switch(bucket, [at_width(width) for width in widths], rows, *more)

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
