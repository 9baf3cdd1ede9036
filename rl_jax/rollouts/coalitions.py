"""Coalitions of the units of responses that are to be valued, in addition to no unit and all units."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from rl_jax.tasks.task import ExtraSpec


class Coalitions(NamedTuple):
  """C coalitions of at most S units in each row, and functions that read them from extras."""

  size: int
  """C."""
  draw: Callable[[Bool[Array, "B S"], PRNGKeyArray], dict[str, Array]]
  """(units that exist, key) -> extras that determine the coalitions."""
  members: Callable[[Bool[Array, "B S"], dict[str, Array]], Bool[Array, "B C S"]]
  """(units that exist, extras of the batch) -> members of each coalition. One with a unit that does not exist is not
  valued."""
  values: Callable[[Float[Array, " B"], Float[Array, "B C"], Float[Array, " B"]], dict[str, Array]]
  """(value of no unit, values of the coalitions, value of all units) -> extras with all values."""
  provides: dict[str, ExtraSpec]
  """Specs of the extras."""


NONE = Coalitions(
  size=0,
  draw=lambda exists, key: {},
  members=lambda exists, extras: jnp.zeros((exists.shape[0], 0, exists.shape[1]), bool),
  values=lambda none, some, every: {},
  provides={},
)
"""No coalition in addition."""


def every_coalition(units: int) -> Coalitions:
  """All coalitions: extra `coalition_values` [B, 2^S], in bitmask order."""
  codes = np.arange(1, 2**units - 1)
  table = (codes[:, None] >> np.arange(units)) % 2 == 1
  meaning = "value of each coalition; bit i of the index is unit i"
  return Coalitions(
    size=len(codes),
    draw=lambda exists, key: {},
    members=lambda exists, extras: jnp.broadcast_to(table, (exists.shape[0], *table.shape)),
    values=lambda none, some, every: {
      "coalition_values": jnp.concatenate([none[:, None], some, every[:, None]], axis=1)
    },
    provides={"coalition_values": ExtraSpec((2**units,), "float32", meaning)},
  )


def random_orders(units: int, orders: int) -> Coalitions:
  """The prefixes of P random orders of the units: extras `orders` [B, P, S] and `order_values` [B, P, S+1].

  Units that do not exist come last.
  """

  def draw(exists: Bool[Array, "B S"], key: PRNGKeyArray) -> dict[str, Array]:
    ranks = jax.random.uniform(key, (exists.shape[0], orders, units))
    return {"orders": jnp.argsort(jnp.where(exists[:, None], ranks, 2.0), axis=2).astype(jnp.int32)}

  def members(exists: Bool[Array, "B S"], extras: dict[str, Array]) -> Bool[Array, "B C S"]:
    places = jnp.argsort(extras["orders"], axis=2)[:, :, None]
    beginnings = (places < jnp.arange(1, units)[:, None]) & exists[:, None, None]
    return beginnings.reshape(exists.shape[0], orders * (units - 1), units)

  def values(none: Float[Array, " B"], some: Float[Array, "B C"], every: Float[Array, " B"]) -> dict[str, Array]:
    ends = [jnp.broadcast_to(x[:, None, None], (x.shape[0], orders, 1)) for x in (none, every)]
    inner = some.reshape(some.shape[0], orders, units - 1)
    return {"order_values": jnp.concatenate([ends[0], inner, ends[1]], axis=2)}

  provides = {
    "orders": ExtraSpec((orders, units), "int32", "random orders of the units"),
    "order_values": ExtraSpec((orders, units + 1), "float32", "value of the first 0, 1, .. units of each order"),
  }
  return Coalitions(orders * (units - 1), draw, members, values, provides)
