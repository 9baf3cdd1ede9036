"""Training V0, the model that predicts a policy's mean reward on a prompt: a ranking loss and a cross-entropy.

Its two logits say "wrong" and "right". Queries come in pairs of one policy: a prompt that it mostly solves (positive)
and one that it mostly fails (negative).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.losses.reward_model import binary_cross_entropy
from rl_jax.kernels.reductions import widen, zero_masked


class PairLoss(NamedTuple):
  """Per-pair losses, to be averaged over pairs; 0 in masked pairs."""

  losses: Float[Array, " B"]
  pairwise: Float[Array, " B"]
  cross_entropy: Float[Array, " B"]


class QueryPairs(NamedTuple):
  """Query slots of each pair; 0 and False beyond the pairs that there are."""

  positive: Int[Array, "B S"]
  negative: Int[Array, "B S"]
  mask: Bool[Array, "B S"]


def score_labels(scores: Float[Array, "..."]) -> Float[Array, "..."]:
  """y = (clip(score, -1, 1) + 1) / 2: a mean reward as the probability of a right answer.

  V0, arXiv 2602.03584, and its code. In a context the label is hard: y >= 0.5.

  >>> print(score_labels(jnp.array([-1.0, 0.5, 3.0])))
  [0.   0.75 1.  ]
  """
  return jax.lax.stop_gradient((jnp.clip(widen(scores), -1, 1) + 1) / 2)


def prior_from_logits(logits: Float[Array, "B 2"]) -> Float[Array, " B"]:
  """V = 2 softmax(logits)_1 - 1: the prior of `advantages.prior`, for rewards of -1 and 1.

  V0, arXiv 2602.03584; this inverse of `score_labels` is not spelt out there.

  >>> print(prior_from_logits(jnp.log(jnp.array([[0.25, 0.75]]))).round(2))
  [0.5]
  """
  return jax.lax.stop_gradient(2 * jax.nn.softmax(widen(logits))[..., 1] - 1)


def query_pairs(labels: Float[Array, "B S"], mask: Num[Array, "B S"]) -> QueryPairs:
  """Pairs the queries with y >= 0.5 with the others, in order; the smaller class starts again until the larger is used.

  V0, arXiv 2602.03584, code. A row holds the queries of one policy at one step; a row with one class gives no pair.

  >>> pairs = query_pairs(jnp.array([[0.9, 0.1, 0.2, 0.3]]), jnp.ones((1, 4)))
  >>> print(pairs.positive, pairs.negative, pairs.mask)
  [[0 0 0 0]] [[1 2 3 0]] [[ True  True  True False]]
  """
  same_shape("query_pairs", "B S", labels=labels, mask=mask)
  slots = jnp.arange(labels.shape[1], dtype=jnp.int32)
  right = zero_masked(labels, mask) >= 0.5
  classes = [(mask != 0) & right, (mask != 0) & ~right]
  counts = [members.sum(axis=1, keepdims=True, dtype=jnp.int32) for members in classes]
  pairs = (slots < jnp.maximum(*counts)) & (jnp.minimum(*counts) > 0)

  def cycled(members, count):
    first = jnp.argsort(~members, axis=1, stable=True).astype(jnp.int32)
    return jnp.where(pairs, jnp.take_along_axis(first, slots % jnp.maximum(count, 1), axis=1), 0)

  return QueryPairs(cycled(classes[0], counts[0]), cycled(classes[1], counts[1]), pairs)


def v0_loss(
  positive_logits: Float[Array, "B 2"],
  negative_logits: Float[Array, "B 2"],
  positive_labels: Float[Array, " B"],
  negative_labels: Float[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  alpha: float = 0.25,
) -> PairLoss:
  """alpha (-log sigmoid(s_pos - s_neg)) + (1 - alpha) CE, s = logit_1 - logit_0, CE that to [1 - y, y], mean of both.

  V0, arXiv 2602.03584, code (`v0_core/trainer.py`). A row is a pair; `mask` is True on pairs that count.

  >>> logits, labels = jnp.zeros((1, 2)), jnp.array([1.0])
  >>> print(v0_loss(logits, logits, labels, 1 - labels, jnp.array([True])).losses.round(3))
  [0.693]
  """
  same_shape("v0_loss", "B", positive_labels=positive_labels, negative_labels=negative_labels, mask=mask)
  same_shape("v0_loss", "B 2", positive_logits=positive_logits, negative_logits=negative_logits)
  score = lambda logits: jnp.diff(zero_masked(logits, (mask != 0)[:, None]), axis=1)[:, 0]
  positive, negative = score(positive_logits), score(negative_logits)
  pairwise = binary_cross_entropy(positive - negative, jnp.ones_like(positive), mask)
  cross_entropy = (
    binary_cross_entropy(positive, positive_labels, mask) + binary_cross_entropy(negative, negative_labels, mask)
  ) / 2
  losses = alpha * pairwise + (1 - alpha) * cross_entropy
  return PairLoss(losses, *jax.lax.stop_gradient((pairwise, cross_entropy)))
