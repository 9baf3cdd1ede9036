"""SLATE: candidate next steps sampled from one shared prefix, compared only with each other.

Rows [B] are candidates. `group_ids` identify the prefix (the question and its step) that they continue; `mask` is True
on candidates that exist. All candidates of a prefix are trained; one is committed to, and the next prefix extends it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.reductions import densify, group_size, group_sum, zero_masked


def slate(
  rewards: Float[Array, " B"], group_ids: Int[Array, " B"], mask: Bool[Array, " B"], *, eps: float = 1e-6
) -> Float[Array, " B"]:
  """A_j = (r_j - mean) / (std + eps) within the candidates of one prefix, std with ddof 1: GRPO on steps.

  SLATE, arXiv 2602.23440, equation 4. `rewards` are those of the step alone (`rewards.judged_step`), without later
  ones. Equal rewards and a single candidate give 0 (the authors' code gives NaN for the latter).

  >>> print(slate(jnp.array([2.0, 0.0, 1.0]), jnp.array([7, 7, 9]), jnp.array([True] * 3)).round(3))
  [ 0.707 -0.707  0.   ]
  """
  return grpo(rewards, group_ids, mask, eps=eps, singleton="zero")


def commit_probabilities(
  advantages: Float[Array, " B"], group_ids: Int[Array, " B"], mask: Bool[Array, " B"], *, temperature: float = 0.7
) -> Float[Array, " B"]:
  """P(j) = softmax_j(A_j / temperature) over the candidates of one prefix, to draw the one that the rollout continues.

  SLATE, arXiv 2602.23440, equation 5. temperature <= 0 gives probability 1 to the highest advantage, or to the first
  row of a tie; with raw rewards this is best-of-k. A prefix without candidates gives 0.

  >>> print(commit_probabilities(jnp.array([0.7, 0.7, 9.0]), jnp.array([7, 7, 9]), jnp.array([True] * 3)))
  [0.5 0.5 1. ]
  """
  same_shape("commit_probabilities", "B", advantages=advantages, group_ids=group_ids, mask=mask)
  valid, advantages, dense = mask != 0, zero_masked(advantages, mask), densify(group_ids)
  highest = jax.ops.segment_max(jnp.where(valid, advantages, -jnp.inf), dense, num_segments=valid.size)[dense]
  below = jnp.where(valid, advantages - jnp.where(valid, highest, 0), 0)
  if temperature <= 0:
    rows = jnp.arange(valid.size)
    best = jnp.where(valid & (below == 0), rows, valid.size)
    first = jax.ops.segment_min(best, dense, num_segments=valid.size)[dense]
    return (rows == first).astype(advantages.dtype)
  odds = jnp.exp(below / temperature)
  total = group_sum(odds, group_ids, valid)
  return jax.lax.stop_gradient(jnp.where(valid, odds / jnp.where(total > 0, total, 1), 0))


def candidate_weights(group_ids: Int[Array, " B"], mask: Bool[Array, " B"]) -> Float[Array, " B"]:
  """1 / k for each of the k candidates of a prefix: every visited step counts once, however many candidates it has.

  SLATE, arXiv 2602.23440, equation 7: J = sum_t (1/k) sum_j J_tj - beta KL, J_tj the mean over tokens of PPO's clipped
  term, ratios per token (not in the paper). With l from `policy_gradient`, A_j on all tokens of candidate j,
  `masked_mean(masked_mean(l, token_mask, axis=1).value, candidate_weights(group_ids, mask))` has the paper's sum over
  steps as its sum and the authors' mean over steps as its value. KL is the same mean of kl's k3, beta 0.001.
  Weights computed on the whole batch may be split into micro-batches. 0 in rows that are not candidates.

  >>> print(candidate_weights(jnp.array([7, 7, 9, 9]), jnp.array([True, True, True, False])))
  [0.5 0.5 1.  0. ]
  """
  same_shape("candidate_weights", "B", group_ids=group_ids, mask=mask)
  return zero_masked(1 / jnp.maximum(group_size(group_ids, mask), 1), mask)
