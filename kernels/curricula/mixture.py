"""Mixtures of data over the domains: how a batch is divided, when a domain has nothing left to give, and by what stage.

daVinci-LLM, arXiv 2603.27164. Its learning rates are optax's: `warmup_constant_schedule(0, 3e-4, 2000)`, then
`cosine_decay_schedule(3e-4, 119209, alpha=0.1)`, then constant 3e-5. Question masking is `reductions.aggregate` of
`losses.negative_log_likelihood` with the mask of the answers, mode "token_mean", which is 0 for a batch of questions.
Nothing carries a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import matching_axes
from rl_jax.kernels._order import largest
from rl_jax.kernels.reductions import widen, zero_masked


class Rebalanced(NamedTuple):
  """Mixture for the next stretch of training, and why."""

  shares: Float[Array, " D"]
  saturated: Bool[Array, " D"]
  """Domains that gained less than the threshold; False while it is not known."""
  known: Bool[Array, ""]
  """Every domain has more evaluations than the window."""
  format_shift: Bool[Array, ""]
  """All domains are saturated: change the format of the data, not the proportions."""


class BatchSchedule(NamedTuple):
  """State of a run at a step, counted from 0."""

  batch_sizes: Int[Array, "*N"]
  """Sequences of the step's batch."""
  tokens: Float[Array, "*N"]
  """Tokens of all steps before it."""


class Stage(NamedTuple):
  """Stage of training, counted from 0, and the tokens since it began; the number of stages and 0 after the last."""

  number: Int[Array, "*N"]
  tokens: Float[Array, "*N"]


def allocate_batch(shares: Num[Array, " D"], *, batch: int) -> Int[Array, " D"]:
  """floor(batch p_d / sum p), and one more for the largest remainders, of equal ones the first: adds up to the batch.

  daVinci-LLM, arXiv 2603.27164; the rounding is not in the paper. Shares that are all 0 count as equal.

  >>> print(allocate_batch(jnp.array([0.5, 0.3, 0.2]), batch=8))
  [4 2 2]
  """
  matching_axes("allocate_batch", shares=(shares, "D"))
  shares = widen(shares)
  shares = jnp.where(shares.sum() > 0, shares, 1)
  exact = batch * shares / shares.sum()
  counts = jnp.floor(exact).astype(jnp.int32)
  order, _ = largest(exact - counts, jnp.ones_like(shares), shares.size)
  places = jnp.zeros_like(order).at[order].set(jnp.arange(shares.size, dtype=order.dtype))
  return counts + (places < batch - counts.sum()).astype(jnp.int32)


def rebalance(
  shares: Float[Array, " D"],
  histories: Float[Array, "D E"],
  mask: Num[Array, "D E"],
  *,
  window: int = 2,
  threshold: float = 1.0,
  shift: float = 0.2,
  floor: float = 0.05,
) -> Rebalanced:
  """Move mass from domains whose score gained less than the threshold over the window to those that still gain.

  daVinci-LLM, arXiv 2603.27164, whose authors judge by eye: the rule is ours. `histories` are scores (0 to 100) of each
  domain at successive evaluations, `mask` those that there have been, the first ones of each row. A saturated domain
  gives min(shift p_d, max(p_d - floor, 0)); the others share the sum in proportion to their gains, a loss counting as
  0, or equally if none gains. A loss is a gain below the threshold. If none or all are saturated, or any domain has no
  more evaluations than the window, nothing moves. The sum of the shares stays; the floor only limits giving.

  >>> histories = jnp.array([[48.0, 49.8, 49.8], [20.0, 27.0, 34.0]])
  >>> print(rebalance(jnp.array([0.7, 0.3]), histories, jnp.ones((2, 3)), window=1).shares.round(2))
  [0.56 0.44]
  """
  matching_axes("rebalance", shares=(shares, "D"), histories=(histories, "D E"), mask=(mask, "D E"))
  shares, histories, count = widen(shares), zero_masked(histories, mask), (mask != 0).sum(axis=1)
  at = lambda place: jnp.take_along_axis(histories, jnp.maximum(place, 0)[:, None], axis=1)[:, 0]
  gains, known = at(count - 1) - at(count - 1 - window), (count > window).all()
  saturated = known & (gains < threshold)
  moves = saturated.any() & ~saturated.all()
  given = jnp.where(saturated & moves, jnp.minimum(shift * shares, jnp.maximum(shares - floor, 0)), 0)
  growth = jnp.where(saturated, 0, jnp.maximum(gains, 0))
  growth = jnp.where(growth.sum() > 0, growth, ~saturated)
  received = given.sum() * growth / jnp.maximum(growth.sum(), jnp.finfo(growth.dtype).tiny)
  moved = Rebalanced(shares - given + jnp.where(moves, received, 0), saturated, known, saturated.all())
  return jax.lax.stop_gradient(moved)


def batch_schedule(
  steps: Int[Array, "*N"],
  *,
  starts: Sequence[int] = (0, 70_000, 110_000),
  batch_sizes: Sequence[int] = (1024, 2048, 4096),
  length: int = 4096,
) -> BatchSchedule:
  """Batch size and tokens so far, where size i begins at step starts_i: sum_i length size_i (steps at size i).

  daVinci-LLM, arXiv 2603.27164, stage 1-1.

  >>> print(*batch_schedule(jnp.array([0, 70_000])))
  [1024 2048] [0.0000000e+00 2.9360128e+11]
  """
  if not (len(starts) == len(batch_sizes) and starts[0] == 0 and list(starts) == sorted(starts)):
    raise ValueError(
      f"batch_schedule: expected a start for each size, ascending from 0, got {starts} and {batch_sizes}"
    )
  done = widen(steps)[..., None] - jnp.asarray(starts)
  spent = jnp.clip(done, 0, jnp.asarray([*np.diff(starts), jnp.inf]).astype(done.dtype))
  sizes = jnp.asarray(batch_sizes, jnp.int32)[(done >= 0).sum(axis=-1) - 1]
  return BatchSchedule(sizes, length * (spent * jnp.asarray(batch_sizes, done.dtype)).sum(axis=-1))


def stage_at(tokens: Num[Array, "*N"], *, lengths: Sequence[float] = (4e12, 2e12, 1e12, 1e12)) -> Stage:
  """Stage that a number of tokens has reached, of stages with so many tokens each.

  daVinci-LLM, arXiv 2603.27164: stages 1-1, 1-2, 2-1 and 2-2.

  >>> print(*stage_at(jnp.array([3.0, 5.0, 9.0]), lengths=(4, 2)))
  [0 1 2] [3. 1. 0.]
  """
  tokens = widen(tokens)
  ends = np.cumsum(lengths)
  index = (tokens[..., None] >= jnp.asarray(ends, tokens.dtype)).sum(axis=-1)
  starts = jnp.asarray([0, *ends], tokens.dtype)[index]
  return Stage(index.astype(jnp.int32), jnp.where(index < len(lengths), tokens - starts, 0))
