"""Training a reward model on outcomes or on success probabilities, and measuring how well it ranks responses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import Mean, group_size, group_sum, masked_mean, zero_masked


def binary_cross_entropy(
  logits: Float[Array, "*B"], labels: Num[Array, "*B"], mask: Num[Array, "*B"]
) -> Float[Array, "*B"]:
  """l = -(y log sigmoid(z) + (1 - y) log sigmoid(-z)), to be averaged with `masked_mean`; 0 in masked slots.

  Labels y are anywhere in [0, 1]. PRIME, arXiv 2502.01456, algorithm 1 line 8: z is the sum of a response's implicit
  rewards, y its outcome. PAV, arXiv 2410.08146: z is read at the last token of a prefix, y its Monte-Carlo
  value (the binary form is not in that paper).

  >>> print(binary_cross_entropy(jnp.array([0.0, jnp.nan]), jnp.array([0.25, 1.0]), jnp.array([1, 0])).round(4))
  [0.6931 0.    ]
  """
  logits, labels = zero_masked(logits, mask), jax.lax.stop_gradient(zero_masked(labels, mask))
  return zero_masked(-labels * jax.nn.log_sigmoid(logits) - (1 - labels) * jax.nn.log_sigmoid(-logits), mask)


def bradley_terry(
  first: Float[Array, " B"], second: Float[Array, " B"], labels: Int[Array, " B"], mask: Num[Array, " B"]
) -> Float[Array, " B"]:
  """l = -(1 - q) log sigmoid(r_1 - r_2) - q log sigmoid(r_2 - r_1), to be averaged with `masked_mean`.

  ONI, arXiv 2410.23022. Labels 0: the first of the pair is better, q = 0; 1: the second, q = 1; anything else, a tie or
  no answer, q = 1/2. 0 in masked pairs.

  >>> args = jnp.array([1.0, 1.0]), jnp.array([1.0, 1.0]), jnp.array([0, 2]), jnp.array([1, 0])
  >>> print(bradley_terry(*args) > 0.69)
  [ True False]
  """
  same_shape("bradley_terry", "B", first=first, second=second, labels=labels, mask=mask)
  wins = jnp.where(labels == 0, 1.0, jnp.where(labels == 1, 0.0, 0.5))
  return binary_cross_entropy(zero_masked(first, mask) - zero_masked(second, mask), wins, mask)


def class_balanced_weights(
  labels: Num[Array, " B"], mask: Num[Array, " B"], *, threshold: float = 0.5
) -> Float[Array, " B"]:
  """w_i = N / (C n_c): both classes, labels below and from the threshold, weigh the same; the mean weight is 1.

  PAV, arXiv 2410.08146: the expected effect of its class-balanced sampling. C counts the classes that occur,
  so a batch of one class has weights 1.

  >>> print(class_balanced_weights(jnp.array([0.0, 0.05, 0.6]), jnp.ones(3)))
  [0.75 0.75 1.5 ]
  """
  same_shape("class_balanced_weights", "B", labels=labels, mask=mask)
  exists, positive = mask != 0, labels >= threshold
  size = group_size(positive.astype(jnp.int32), exists)
  classes = (exists & positive).any().astype(size.dtype) + (exists & ~positive).any()
  return jnp.where(exists, group_size(None, exists) / jnp.maximum(classes * size, 1), 0)


def _same_group(group_ids, mask):
  """[i, j]: rows i and j are scored and belong to one group."""
  return (group_ids[:, None] == group_ids) & (mask[:, None] != 0) & (mask != 0)


def detached_dpo(
  rewards: Float[Array, " B"],
  old_rewards: Float[Array, " B"],
  outcomes: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
) -> Float[Array, " B"]:
  """l_i = -log sigmoid(s_i (Q_i - mean_{j on the other side} Q_j)), s_i = 1 if y_i > 0 and -1 otherwise.

  Not in the PRIME paper but in its code (arXiv 2502.01456, verl's prime recipe). Q are the summed implicit rewards,
  Q_j those of the model before its update (`old_rewards`, no gradient). The other side is the rows of the group with
  lower outcomes where y_i > 0, with higher ones where y_i = 0; without any, the mean is 0.

  >>> args = jnp.array([1.0, 0.0]), jnp.array([1.0, 0.0]), jnp.array([1.0, 0.0]), jnp.array([7, 7]), jnp.ones(2, bool)
  >>> print(detached_dpo(*args).round(2))
  [0.31 0.31]
  """
  same_shape("detached_dpo", "B", rewards=rewards, old_rewards=old_rewards, outcomes=outcomes, mask=mask)
  rewards, outcomes = zero_masked(rewards, mask), zero_masked(outcomes, mask)
  won, apart = outcomes[:, None] > 0, outcomes[:, None] - outcomes
  opposite = _same_group(group_ids, mask) & jnp.where(won, apart > 0, apart < 0)
  opposite_rewards = masked_mean(jnp.broadcast_to(old_rewards, opposite.shape), opposite, axis=1).value
  margins = (rewards - jax.lax.stop_gradient(opposite_rewards)) * jnp.where(outcomes > 0, 1, -1)
  return zero_masked(-jax.nn.log_sigmoid(margins), mask)


def best_of_n_weights(
  scores: Float[Array, " B"], group_ids: Int[Array, " B"], mask: Bool[Array, " B"]
) -> Float[Array, " B"]:
  """w_i = n F(s_i)^{n-1}, F(s_i) the part of the group with s_j <= s_i: the density of the best of n samples.

  Weights of the best-of-n forms of `detached_dpo` in PRIME's code (arXiv 2502.01456, verl's prime recipe): `scores` are
  its rewards, and the weighted losses are summed. That the form with outcomes as scores has the same weights is our
  reading. n is the size of the group; a group of one has 1.

  >>> print(best_of_n_weights(jnp.array([0.1, 0.9]), jnp.array([7, 7]), jnp.array([True, True])))
  [1. 2.]
  """
  same_shape("best_of_n_weights", "B", scores=scores, mask=mask)
  scores = zero_masked(scores, mask)
  below = masked_mean(scores <= scores[:, None], _same_group(group_ids, mask), axis=1).value.astype(scores.dtype)
  size = group_size(group_ids, mask).astype(scores.dtype)
  return jax.lax.stop_gradient(jnp.where(mask != 0, size * below ** jnp.maximum(size - 1, 0), 0))


def pair_accuracy(
  scores: Float[Array, " B"],
  outcomes: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
) -> Mean:
  """Share of a group's pairs that scores order as outcomes do, weighted by |y_i - y_j|; the mean over groups.

  PRIME's code (arXiv 2502.01456): correct if (s_i > s_j) == (y_i > y_j). Equal scores count half, so that an untrained
  model scores 0.5; in the code they count for the later row. A group without a difference in outcomes counts 0.5; the
  weight is the number of groups.

  >>> args = jnp.array([0.1, 0.2, 0.3]), jnp.array([0.0, 1.0, 0.0]), jnp.array([7, 7, 7]), jnp.ones(3, bool)
  >>> print(pair_accuracy(*args).value)
  0.5
  """
  same_shape("pair_accuracy", "B", scores=scores, outcomes=outcomes, mask=mask)
  scores, outcomes = (jax.lax.stop_gradient(zero_masked(x, mask)) for x in (scores, outcomes))
  higher, apart = scores[:, None] > scores, outcomes[:, None] - outcomes
  rows = jnp.arange(mask.shape[0])
  weights = jnp.where(_same_group(group_ids, mask) & (rows[:, None] < rows), jnp.abs(apart), 0)
  correct = jnp.where(scores[:, None] == scores, 0.5, (higher == (apart > 0)).astype(weights.dtype))
  right = group_sum((weights * correct).sum(axis=1), group_ids, mask)
  total = group_sum(weights.sum(axis=1), group_ids, mask)
  accuracies = jnp.where(total > 0, Mean(right, total).value, 0.5)
  # Each row carries its share of its group, so that every group counts once.
  size = group_size(group_ids, mask).astype(accuracies.dtype)
  return masked_mean(accuracies, jnp.where(mask != 0, 1 / jnp.maximum(size, 1), 0))
