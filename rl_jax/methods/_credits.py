"""Credits of the units of a response, from the values of coalitions of units, for methods that split a reward."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from rl_jax.kernels.reductions import Mean, zero_masked
from rl_jax.kernels.rewards import attribution
from rl_jax.rollouts import coalitions
from rl_jax.rollouts.coalitions import Coalitions
from rl_jax.trajectories import Trajectories

MOST_UNITS = 8
"""Largest number of units with all coalitions scored: 255 copies of a row."""


class Credit(NamedTuple):
  """Credits that add up to the value of all units minus the value of none, and the coalitions behind them."""

  of_units: Callable[[Trajectories], Float[Array, "B S"]]
  """Credits of rows with the values of `coalitions` in their extras; 0 for units that do not exist."""
  coalitions: Coalitions
  requires: tuple[str, ...]
  """Extras of the coalitions that the credits read."""


def shapley(m: ConfigDict) -> Credit:
  """Shapley values: exact, or the mean over `orders` random orders."""
  if not m.orders:
    exact = lambda rows: attribution.shapley(rows.extras["coalition_values"], rows.extras["unit_mask"])
    return Credit(exact, _all(m), ("coalition_values",))

  def sampled(rows: Trajectories) -> Float[Array, "B S"]:
    return attribution.permutation_shapley(rows.extras["order_values"], rows.extras["orders"], rows.extras["unit_mask"])

  return Credit(sampled, coalitions.random_orders(m.max_spans, m.orders), ("order_values", "orders"))


def owen(m: ConfigDict) -> Credit:
  """Owen values of blocks of `block_spans` adjacent units. Raises ValueError if `orders` is set: they are exact."""
  if m.orders:
    raise ValueError(f"method.orders={m.orders}: Owen values are exact, set it to 0")
  blocks = jnp.arange(m.max_spans) // m.block_spans

  def exact(rows: Trajectories) -> Float[Array, "B S"]:
    exists = rows.extras["unit_mask"]
    return attribution.owen(rows.extras["coalition_values"], jnp.broadcast_to(blocks, exists.shape), exists)

  return Credit(exact, _all(m), ("coalition_values",))


def uniform(m: ConfigDict) -> Credit:
  """Equal shares; no part of a response is scored. Raises ValueError if `orders` is set, as nothing is sampled."""
  if m.orders:
    raise ValueError(f"method.orders={m.orders}: equal shares sample no orders, set it to 0")

  def shares(rows: Trajectories) -> Float[Array, "B S"]:
    exists = rows.extras["unit_mask"]
    share = Mean(rows.rewards - rows.extras["empty_values"], exists.sum(axis=1)).value
    return zero_masked(jnp.broadcast_to(share[:, None], exists.shape), exists)

  return Credit(shares, coalitions.NONE, ())


def _all(m: ConfigDict) -> Coalitions:
  """All coalitions. Raises ValueError: there are too many."""
  if m.max_spans > MOST_UNITS:
    raise ValueError(
      f"method.max_spans={m.max_spans} have {2**m.max_spans} coalitions: take {MOST_UNITS} at most, or method.orders"
    )
  return coalitions.every_coalition(m.max_spans)


CREDITS = {"shapley": shapley, "owen": owen, "uniform": uniform}
