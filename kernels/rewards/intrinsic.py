"""Intrinsic rewards from a judge that labels captions of states while the agent trains, never waited for.

ONI, arXiv 2410.23022. A caption is an integer, the hash of its text: of a message, a step or a tool's answer (its use
for language models is our reading). A row is an episode. Three ways from labels to rewards: a table of labels, a
classifier, a ranking; and a discount for what was said before in the episode, without which a helpful caption is
farmed.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import group_mean, group_size, group_std, widen, zero_masked
from rl_jax.kernels.scans import running_sums


class Repeats(NamedTuple):
  """Occurrences of a caption in its episode so far, this one included, and the factor of its reward."""

  counts: Int[Array, "B T"]
  factors: Float[Array, "B T"]


class Retrieved(NamedTuple):
  """Rewards from the table, and the first place in its episode of each caption that the table does not have."""

  rewards: Float[Array, "B T"]
  unlabelled: Bool[Array, "B T"]


class RewardStatistics(NamedTuple):
  """Running mean and variance of a ranking model's rewards."""

  mean: Float[Array, ""]
  variance: Float[Array, ""]
  observations: Float[Array, ""]

  @classmethod
  def empty(cls) -> RewardStatistics:
    """Statistics before the first batch, which weigh a ten-thousandth of a reward."""
    return cls(jnp.array(0.0), jnp.array(1.0), jnp.array(1e-4))


def repeat_factors(captions: Int[Array, "B T"], mask: Num[Array, "B T"], *, beta: float = 3.0) -> Repeats:
  """k_t = 1 / N_t^beta, N_t the number of slots s <= t of the row with the caption of t; beta 0 discounts nothing.

  ONI, arXiv 2410.23022; the initial observation counts. 0 in masked slots.

  >>> print(repeat_factors(jnp.array([[5, 7, 5]]), jnp.ones((1, 3))).factors)
  [[1.    1.    0.125]]
  """
  same_shape("repeat_factors", "B T", captions=captions, mask=mask)
  exists = mask != 0
  counts = jnp.where(exists, _earlier(captions, exists).sum(axis=2, dtype=jnp.int32) + 1, 0)
  return Repeats(counts, zero_masked(jnp.maximum(widen(counts), 1) ** -beta, exists))


def _earlier(captions, exists):
  """[b, t, s]: slot s < t of the row exists and has the caption of t."""
  slots = jnp.arange(captions.shape[1])
  return (captions[:, :, None] == captions[:, None]) & exists[:, None] & (slots < slots[:, None])


def retrieved_rewards(
  captions: Int[Array, "B T"],
  table_captions: Int[Array, " N"],
  table_labels: Num[Array, " N"],
  table_mask: Num[Array, " N"],
  mask: Num[Array, "B T"],
) -> Retrieved:
  """r = label of the caption in the table, 0 if it is not there: ONI-Retrieval.

  ONI, arXiv 2410.23022. `table_mask` marks filled entries; of several with one caption the last counts, as newer labels
  overwrite. What is `unlabelled` is queued for the judge, once per caption: only the host sees several rows.

  >>> table = jnp.array([5, 9]), jnp.array([1, 0]), jnp.ones(2)
  >>> found = retrieved_rewards(jnp.array([[5, 7, 7]]), *table, jnp.ones((1, 3)))
  >>> print(found.rewards, found.unlabelled)
  [[1. 0. 0.]] [[False  True False]]
  """
  same_shape("retrieved_rewards", "B T", captions=captions, mask=mask)
  same_shape("retrieved_rewards", "N", captions=table_captions, labels=table_labels, mask=table_mask)
  exists, filled = mask != 0, table_mask != 0
  entries = jnp.where((captions[..., None] == table_captions) & filled, jnp.arange(filled.shape[0]), -1)
  newest_entry = (entries >= 0) & (entries == entries.max(axis=-1, keepdims=True, initial=-1))
  known = exists & newest_entry.any(axis=-1)
  rewards = zero_masked(jnp.where(newest_entry, zero_masked(table_labels, filled), 0).sum(axis=-1), known)
  first = ~_earlier(captions, exists).any(axis=2)
  return Retrieved(jax.lax.stop_gradient(rewards), exists & ~known & first)


def classified_rewards(
  logits: Float[Array, "B T 2"], mask: Num[Array, "B T"], *, threshold: float = 0.5
) -> Float[Array, "B T"]:
  """r = 1 if softmax(logits)_1 > threshold, else 0: ONI-Classification, whose reward is hard, not the probability.

  ONI, arXiv 2410.23022. The classifier is trained by `losses.binary_cross_entropy` of logit_1 - logit_0 and the labels,
  the first of each caption. No gradient.

  >>> print(classified_rewards(jnp.array([[[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]]), jnp.ones((1, 3))))
  [[1. 0. 0.]]
  """
  if logits.ndim != 3 or logits.shape != (*mask.shape, 2):
    raise ValueError(f"classified_rewards: expected logits [B T 2] and mask [B T], got {logits.shape}, {mask.shape}")
  probabilities = jax.nn.softmax(zero_masked(logits, mask[..., None]))[..., 1]
  return zero_masked(probabilities > threshold, mask).astype(probabilities.dtype)


def update_statistics(
  statistics: RewardStatistics, rewards: Float[Array, "B T"], mask: Num[Array, "B T"]
) -> RewardStatistics:
  """Merge a batch: of counts N and n, means m and m_b, m + d n / (N + n), (N v + n v_b + d^2 N n / (N + n)) / (N + n).

  ONI, arXiv 2410.23022, code: d = m_b - m, and v_b has ddof 1. A batch of one has v_b = 0, an empty one changes
  nothing.

  >>> statistics = update_statistics(RewardStatistics.empty(), jnp.array([[1.0, 3.0]]), jnp.ones((1, 2)))
  >>> print(f"{statistics.mean:.3f} {statistics.variance:.3f} {statistics.observations:.4f}")
  2.000 2.000 2.0001
  """
  same_shape("update_statistics", "B T", rewards=rewards, mask=mask)
  new_mean, deviation = group_mean(rewards, None, mask), group_std(rewards, None, mask)
  mean, variance, count = (widen(x) for x in statistics)
  new = group_size(None, mask).astype(count.dtype)
  total, apart = count + new, new_mean - mean
  merged = (count * variance + new * jnp.square(deviation) + jnp.square(apart) * count * new / total) / total
  return jax.lax.stop_gradient(
    RewardStatistics(mean + jnp.where(new > 0, apart * new / total, 0), jnp.where(new > 0, merged, variance), total)
  )


def ranked_rewards(
  rewards: Float[Array, "B T"], statistics: RewardStatistics, mask: Num[Array, "B T"], *, threshold: float = -0.5
) -> Float[Array, "B T"]:
  """z = (r - mean) / sqrt(variance), and 0 unless z > threshold: ONI-Ranking.

  ONI, arXiv 2410.23022: of the ranking model's r, after `update_statistics` with the batch itself; so rewards may be a
  little below 0. The model is trained by `losses.bradley_terry`. Motif: statistics of its training set and as threshold
  a quantile of z there. ONI's released code takes the threshold here as well and then adds r itself, not z, to the
  reward. Variance 0 gives 0. No gradient.

  >>> statistics = RewardStatistics(jnp.array(1.0), jnp.array(4.0), jnp.array(9.0))
  >>> print(ranked_rewards(jnp.array([[5.0, -1.0, 0.5]]), statistics, jnp.ones((1, 3))))
  [[ 2.    0.   -0.25]]
  """
  same_shape("ranked_rewards", "B T", rewards=rewards, mask=mask)
  mean, variance = widen(statistics.mean), widen(statistics.variance)
  z = (zero_masked(rewards, mask) - mean) * jnp.where(
    variance > 0, jax.lax.rsqrt(jnp.where(variance > 0, variance, 1)), 0
  )
  return jax.lax.stop_gradient(zero_masked(jnp.where(z > threshold, z, 0), mask))


def similarity_rewards(
  vectors: Float[Array, "B T D"], goals: Float[Array, "B D"], mask: Num[Array, "B T"], *, threshold: float
) -> Float[Array, "B T"]:
  """cos(caption, goal), 0 below the threshold: sums of the word vectors of both.

  ELLM's bag of words, the baseline of arXiv 2410.23022. A zero vector gives 0. No gradient.

  >>> vectors, goals = jnp.array([[[3.0, 4.0], [-1.0, 0.0]]]), jnp.array([[2.0, 0.0]])
  >>> print(similarity_rewards(vectors, goals, jnp.ones((1, 2)), threshold=0.5).round(1))
  [[0.6 0. ]]
  """
  if vectors.ndim != 3 or mask.shape != vectors.shape[:2] or goals.shape != vectors[:, 0].shape:
    raise ValueError(
      "similarity_rewards: expected vectors [B T D], goals [B D] and mask [B T], "
      f"got {vectors.shape}, {goals.shape} and {mask.shape}"
    )

  def unit(x):
    largest = jnp.abs(x).max(axis=-1, keepdims=True)
    x = x / jnp.where(largest > 0, largest, 1)  # squares of small entries would be lost
    length = jnp.linalg.norm(x, axis=-1, keepdims=True)
    return x / jnp.where(length > 0, length, 1)

  cosines = (unit(zero_masked(vectors, mask[..., None])) * unit(widen(goals))[:, None]).sum(axis=-1)
  return jax.lax.stop_gradient(zero_masked(jnp.where(cosines < threshold, 0, cosines), mask))


def oni_rewards(
  extrinsic: Num[Array, "B T"],
  intrinsic: Float[Array, "B T"],
  factors: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  extrinsic_weight: float = 0.1,
  intrinsic_weight: float = 0.4,
) -> Float[Array, "B T"]:
  """R_t = a_ext r_t + a_int k_t r_int_t: what `advantages.vtrace` is given in place of the reward.

  ONI, arXiv 2410.23022. a_ext is 0.1 for the score of NetHack, 10 for rare rewards, 0 without any. `factors` are those
  of `repeat_factors`. No gradient; 0 in masked slots.

  >>> print(oni_rewards(jnp.array([[5.0]]), jnp.array([[1.0]]), jnp.array([[0.125]]), jnp.ones((1, 1))))
  [[0.55]]
  """
  same_shape("oni_rewards", "B T", extrinsic=extrinsic, intrinsic=intrinsic, factors=factors, mask=mask)
  extrinsic, intrinsic, factors = (zero_masked(x, mask) for x in (extrinsic, intrinsic, factors))
  return jax.lax.stop_gradient(extrinsic_weight * extrinsic + intrinsic_weight * factors * intrinsic)


def newest(waiting: Bool[Array, "B N"], *, count: int) -> Bool[Array, "B N"]:
  """The last `count` waiting slots of each queue, or all if they are fewer: a judge reads the newest captions next.

  ONI, arXiv 2410.23022, last in, first out: 100 at a time; a backlog of pairs to rank is cut to the newest 10,000.

  >>> print(newest(jnp.array([[True, False, True, True]]), count=2))
  [[False False  True  True]]
  """
  if waiting.ndim != 2 or count < 0:
    raise ValueError(f"newest: expected waiting [B N] and a count of at least 0, got {waiting.shape} and {count}")
  waiting = waiting != 0
  return waiting & (running_sums(waiting[:, ::-1])[:, ::-1] <= count)
