"""Rewards that tell equal outcomes apart: a bonus for short correct responses, a ranking of cut-off wrong ones."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.reductions import group_size, group_sum, masked_mean, widen, zero_masked


def length_bonus_reward(
  correct: Bool[Array, " B"], lengths: Num[Array, " B"], *, max_length: int = 32768
) -> Float[Array, " B"]:
  """R = 1[correct] (1 + max(0, 1 - l / L_max)): between 1 and 2 if correct, else 0.

  R3, arXiv 2601.19620, section 3; that the bonus is added with weight 1 is inferred.

  >>> print(length_bonus_reward(jnp.array([True, True, False]), jnp.array([25, 200, 25]), max_length=100))
  [1.75 1.   0.  ]
  """
  return zero_masked(1 + jnp.maximum(1 - widen(lengths) / max_length, 0), correct)


class EntropyRanking(NamedTuple):
  """Rewards of the ranked rows, and what ranks them; 0 in rows that are not ranked."""

  rewards: Float[Array, " B"]
  peaks: Float[Array, " B"]
  """Mean of the largest token entropies."""
  means: Float[Array, " B"]
  """Mean of all token entropies."""
  dominated: Float[Array, " B"]
  """Number of ranked rows of the group with a lower peak and a higher mean."""


def _largest_mean(x, mask, share):
  """Mean of the max(1, floor(share L)) largest unmasked values of each row, 0 in an empty row."""
  lengths = np.arange(mask.shape[1] + 1)
  # A table in NumPy's float64: in float32 the floor of share L would miss whole numbers.
  counts = jnp.asarray(np.minimum(np.maximum(np.floor(share * lengths + 1e-9), 1), lengths).astype(np.int32))
  descending = -jnp.sort(-jnp.where(mask != 0, x, -jnp.inf), axis=1)
  largest = lengths[:-1] < counts[(mask != 0).sum(axis=1)][:, None]
  return masked_mean(descending, largest, axis=1).value


def entropy_ranking(
  entropies: Float[Array, "B T"],
  correct: Bool[Array, " B"],
  truncated: Bool[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  token_mask: Num[Array, "B T"],
  *,
  top_share: float = 0.2,
  max_reward: float = 0.5,
  ties: str = "average",
) -> EntropyRanking:
  """R = R_max (1 - k / (N - 1)), k the rank by S_i = number of j with peak_i > peak_j and mean_i < mean_j.

  R3 (SERR), arXiv 2601.19620, section 3. Ranked are the N truncated responses of a group in which none is correct.
  `entropies` are over the whole vocabulary; the peak is the mean of the max(1, floor(top_share L)) largest. Keep
  `max_reward` below the reward of a correct response. Inferred: `ties` "average" gives tied rows their mean rank,
  "stable" ranks them by row order; N = 1 gives 0; the values of top_share and max_reward.

  >>> entropies = jnp.array([[3.0, 0.0, 0.0], [2.0, 0.75, 0.75], [1.5, 1.5, 1.5]])
  >>> wrong, every = jnp.zeros(3, bool), jnp.ones(3, bool)
  >>> ranking = entropy_ranking(entropies, wrong, every, jnp.array([7, 7, 7]), every, jnp.ones((3, 3)))
  >>> print(ranking.dominated, ranking.rewards)
  [2. 1. 0.] [0.5  0.25 0.  ]
  """
  known_option("entropy_ranking", "ties", ties, ("average", "stable"))
  same_shape("entropy_ranking", "B T", entropies=entropies, token_mask=token_mask)
  ranked = (mask != 0) & (truncated != 0) & (group_sum(correct, group_ids, mask) == 0)
  tokens = (token_mask != 0) & ranked[:, None]
  entropies = zero_masked(entropies, tokens)
  peaks, means = _largest_mean(entropies, tokens, top_share), masked_mean(entropies, tokens, axis=1).value
  peers = ranked[None, :] & (group_ids[:, None] == group_ids[None, :])

  def number(relation):
    return zero_masked((relation & peers).sum(axis=1).astype(peaks.dtype), ranked)

  dominated = number((peaks[:, None] > peaks[None, :]) & (means[:, None] < means[None, :]))
  tied = dominated[:, None] == dominated[None, :]
  if ties == "average":
    offset = (number(tied) - 1) / 2
  else:
    rows = jnp.arange(ranked.shape[0])
    offset = number(tied & (rows[None, :] < rows[:, None]))
  rank = number(dominated[:, None] < dominated[None, :]) + offset
  last = group_size(group_ids, ranked) - 1
  rewards = max_reward * (1 - rank / jnp.maximum(last, 1))
  rewards = zero_masked(rewards.astype(peaks.dtype), ranked & (last > 0))
  return jax.lax.stop_gradient(EntropyRanking(rewards, peaks, means, dominated))
