"""DUMP: which source the next prompts come from, as a bandit whose arms pay the mean absolute advantage they gave."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import masked_mean, widen, zero_masked


class Bandit(NamedTuple):
  """Memory of N sources."""

  windows: Float[Array, "N W"]
  """The last W values of |A| of each source: its n-th value is in slot n mod W."""
  counts: Int[Array, " N"]
  """Number of responses seen from each source."""

  @classmethod
  def empty(cls, num_sources: int, *, window: int = 300) -> Bandit:
    """The state before the first batch; the window is counted in responses."""
    return cls(jnp.zeros((num_sources, window)), jnp.zeros(num_sources, jnp.int32))


def update_bandit(
  bandit: Bandit, advantages: Float[Array, " B"], source_ids: Int[Array, " B"], mask: Bool[Array, " B"]
) -> Bandit:
  """Append |A_i| to the window of response i's source, in order of the batch, and count it.

  DUMP, arXiv 2504.09710, algorithm 1. A is that of `advantages.group.grpo`, at its defaults. The code, like
  this, counts responses and not prompts, so the bonus of `upper_confidence_bounds` falls with the group size. Unscored
  rows, and rows with ids outside 0 .. N - 1, are left out.

  >>> bandit = update_bandit(Bandit.empty(2, window=2), jnp.array([1.0, -2.0, 3.0]), jnp.array([0, 0, 0]), jnp.ones(3))
  >>> print(bandit.windows, bandit.counts)
  [[3. 2.]
   [0. 0.]] [3 0]
  """
  same_shape("update_bandit", "B", advantages=advantages, source_ids=source_ids, mask=mask)
  sources, window = bandit.windows.shape
  valid = (mask != 0) & (source_ids >= 0) & (source_ids < sources)
  ids = jnp.where(valid, source_ids, sources)  # one source more, for the rows left out
  new = jnp.zeros(sources + 1, jnp.int32).at[ids].add(1)
  order = jnp.argsort(ids, stable=True)
  starts = jnp.cumsum(new) - new
  rank = jnp.zeros_like(ids).at[order].set(jnp.arange(ids.shape[0], dtype=ids.dtype) - starts[ids[order]])
  # Only the last W new values of a source are written, so no two of them share a slot.
  in_window = valid & (rank >= new[ids] - window)
  counts = bandit.counts.astype(jnp.int32)
  slots = (counts[jnp.minimum(ids, sources - 1)] + rank) % window
  windows = widen(bandit.windows)
  payoffs = jnp.abs(zero_masked(advantages, valid)).astype(windows.dtype)
  windows = windows.at[jnp.where(in_window, ids, sources), slots].set(payoffs, mode="drop")
  return jax.lax.stop_gradient(Bandit(windows, counts + new[:sources]))


def learnability(bandit: Bandit) -> Float[Array, " N"]:
  """L_j, the mean of |A| over source j's window; 0 where it is empty.

  DUMP, arXiv 2504.09710, section 3. With standardised 0/1 rewards it is about 2 sqrt(p (1 - p)), p the success rate.

  >>> print(learnability(Bandit(jnp.array([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]]), jnp.array([2, 0]))))
  [1.5 0. ]
  """
  filled = jnp.arange(bandit.windows.shape[1]) < bandit.counts[:, None]
  return jax.lax.stop_gradient(masked_mean(bandit.windows, filled, axis=1).value)


def upper_confidence_bounds(bandit: Bandit, *, exploration: float = 1.0) -> Float[Array, " N"]:
  """UCB_j = L_j + exploration sqrt(2 ln(n + 1) / (n_j + 1)), n = max(1, sum_j n_j).

  DUMP, arXiv 2504.09710, section 3, where the weight of the bonus is 1.

  >>> print(upper_confidence_bounds(Bandit(jnp.array([[1.0, 2.0], [0.0, 0.0]]), jnp.array([2, 0]))).round(2))
  [2.36 1.48]
  """
  payoffs = learnability(bandit)
  counts = bandit.counts.astype(payoffs.dtype)
  return payoffs + exploration * jnp.sqrt(2 * jnp.log(jnp.maximum(counts.sum(), 1) + 1) / (counts + 1))


def source_probabilities(
  bandit: Bandit, mask: Bool[Array, " N"], *, tau: float = 0.1, exploration: float = 1.0
) -> Float[Array, " N"]:
  """P = softmax(UCB / tau) over the sources that have prompts (`mask`), 0 for the others.

  DUMP, arXiv 2504.09710, section 3. tau 0 takes the largest, of equal ones the first (the tie is not in the paper).
  Before the first response P is uniform. Prompts are then drawn independently: a source by P, and any prompt of it.

  >>> print(source_probabilities(Bandit.empty(4), jnp.array([True, True, False, True])).round(3))
  [0.333 0.333 0.    0.333]
  """
  same_shape("source_probabilities", "N", counts=bandit.counts, mask=mask)
  if tau < 0:
    raise ValueError(f"source_probabilities: expected tau >= 0, got {tau}")
  scores, exists = upper_confidence_bounds(bandit, exploration=exploration), mask != 0
  if tau == 0:
    first = jnp.argmax(jnp.where(exists, scores, -jnp.inf))
    scores = jnp.where(jnp.arange(scores.shape[0]) == first, 0, -jnp.inf)
  else:
    scores = scores / tau
  scores = jnp.where(bandit.counts.sum() > 0, scores, 0)
  return zero_masked(jax.nn.softmax(jnp.where(exists, scores, jnp.finfo(scores.dtype).min)), mask)
