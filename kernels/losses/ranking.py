"""Reward models from rankings: n responses to one prompt, each with a rank (1 is best, ties allowed).

Responses of all prompts are rows [B] with `group_ids`; a pair is two scored rows of one group with different ranks.
Comparing all rows with all takes [B, B] entries on the device that holds the row; only [B] arrays move.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import Mean, group_sum, zero_masked


def _comparable(group_ids, mask):
  """Return whether row i and row j are scored responses to the same prompt, at [i, j]."""
  return (mask != 0)[:, None] & (mask != 0) & (group_ids[:, None] == group_ids)


def pairwise_ranking(
  rewards: Float[Array, " B"], ranks: Num[Array, " B"], group_ids: Int[Array, " B"], mask: Num[Array, " B"]
) -> Mean:
  """Mean over prompts with any pair of each prompt's mean over pairs of -log sigmoid(r_better - r_worse).

  DMoERM, arXiv 2403.01197, the loss of all phases. Without a pair (all ranks tied, one response): weight 0, value 0,
  so no update. Micro-batches add as long as no prompt is split.

  >>> rewards, ranks = jnp.array([2.0, 0.0, 5.0]), jnp.array([1, 2, 1])
  >>> print(pairwise_ranking(rewards, ranks, jnp.array([7, 7, 9]), jnp.ones(3)).value.round(4))
  0.1269
  """
  same_shape("pairwise_ranking", "B", rewards=rewards, ranks=ranks, group_ids=group_ids, mask=mask)
  rewards = zero_masked(rewards, mask)
  better = _comparable(group_ids, mask) & (ranks[:, None] < ranks)
  losses = -jax.nn.log_sigmoid(rewards[:, None] - rewards)
  better = better.astype(losses.dtype)
  pairs = group_sum(better.sum(axis=1), group_ids, mask)
  share = better / jnp.where(pairs > 0, pairs, 1)[:, None]
  return Mean((share * losses).sum(), share.sum())


def ranking_consistency(
  rewards: Float[Array, " B"], ranks: Num[Array, " B"], group_ids: Int[Array, " B"], mask: Num[Array, " B"]
) -> Mean:
  """Share of all pairs in which the better response has the strictly larger reward; equal rewards count as wrong.

  DMoERM, arXiv 2403.01197. The released evaluation compares the other way round, against its own loss. No pair:
  weight 0, value 0. No gradient.

  >>> rewards, ranks = jnp.array([2.0, 0.0, 1.0]), jnp.array([1, 2, 3])
  >>> print(*ranking_consistency(rewards, ranks, jnp.array([7, 7, 7]), jnp.ones(3)))
  2.0 3.0
  """
  same_shape("ranking_consistency", "B", rewards=rewards, ranks=ranks, group_ids=group_ids, mask=mask)
  rewards = zero_masked(rewards, mask)
  better = _comparable(group_ids, mask) & (ranks[:, None] < ranks)
  right = better & (rewards[:, None] > rewards)
  return Mean(right.sum().astype(rewards.dtype), better.sum().astype(rewards.dtype))


def best_of_n(rewards: Float[Array, " B"], group_ids: Int[Array, " B"], mask: Num[Array, " B"]) -> Bool[Array, " B"]:
  """True on the response with the largest reward of its group, the first of several; False in unscored rows.

  >>> print(best_of_n(jnp.array([1.0, 2.0, 2.0, -1.0]), jnp.array([7, 7, 7, 9]), jnp.ones(4)))
  [False  True False  True]
  """
  same_shape("best_of_n", "B", rewards=rewards, group_ids=group_ids, mask=mask)
  rewards, rows = zero_masked(rewards, mask), jnp.arange(rewards.shape[0])
  tied_earlier = (rewards[:, None] == rewards) & (rows[:, None] > rows)
  beaten = _comparable(group_ids, mask) & ((rewards[:, None] < rewards) | tied_earlier)
  return (mask != 0) & ~beaten.any(axis=1)


class SwapLabels(NamedTuple):
  """The ranks of both responses of a pair, 0 where the two answers disagree, and whether the pair is kept."""

  ranks: Int[Array, "B 2"]
  kept: Bool[Array, " B"]


def swap_consistent_ranks(
  answers: Int[Array, " B"], swapped_answers: Int[Array, " B"], mask: Num[Array, " B"]
) -> SwapLabels:
  """A judge asked twice, with the responses swapped the second time: the pair counts only if both answers agree.

  DMoERM, arXiv 2403.01197, the labels of capability points. An answer is 1 or 2, the place of the response that the
  judge prefers; anything else is no answer. Answers 1 then 2 rank the first response 1 and the second 2; 2 then 1 the
  other way round; the rest is dropped.

  >>> print(swap_consistent_ranks(jnp.array([1, 2, 1]), jnp.array([2, 1, 1]), jnp.ones(3)).ranks)
  [[1 2]
   [2 1]
   [0 0]]
  """
  same_shape("swap_consistent_ranks", "B", answers=answers, swapped_answers=swapped_answers, mask=mask)
  agree = ((answers == 1) & (swapped_answers == 2)) | ((answers == 2) & (swapped_answers == 1))
  consistent = (mask != 0) & agree
  ranks = jnp.stack([answers, swapped_answers], axis=1).astype(jnp.int32)
  return SwapLabels(jnp.where(consistent[:, None], ranks, 0), consistent)
