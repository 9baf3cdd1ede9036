"""Losses on scores of documents, one per query or pair, to be averaged with `masked_mean`.

"Dense Text Retrieval", arXiv 2211.14876. `scores` [B C] may come from any encoder or index (`similarity`,
`product_scores`). Over a mesh the batch is one array, so all documents of all devices are negatives, with gradient.
Gradients go to the scores of the model, never to a teacher. Masked rows give 0.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels import _divergences
from rl_jax.kernels._checks import known_option, matching_axes, same_shape
from rl_jax.kernels.reductions import masked_mean, zero_masked


class ContrastiveLoss(NamedTuple):
  """Losses of the queries, and whether each query's highest score is that of its positive."""

  losses: Float[Array, " B"]
  correct: Bool[Array, " B"]


def _excluded(function, excluded, positives, scores):
  """[B C]: entries that do not count; never the positive."""
  if excluded is not None:
    same_shape(function, "B C", scores=scores, excluded=excluded)
  positive = jnp.arange(scores.shape[1]) == positives[:, None]
  return positive, (jnp.zeros_like(positive) if excluded is None else (excluded != 0) & ~positive)


def contrastive_loss(
  scores: Float[Array, "B C"],
  positives: Int[Array, " B"],
  mask: Num[Array, " B"],
  *,
  excluded: Num[Array, "B C"] | None = None,
  temperature: float = 1.0,
) -> ContrastiveLoss:
  """logsumexp_j(s_ij / T) - s_ip / T, p the positive of query i: DPR's loss with in-batch negatives.

  "Dense Text Retrieval", arXiv 2211.14876; column p of row i is its positive, all others are negatives: the positives
  of other queries and hard ones. `excluded` leaves entries out of the sum, never the positive: `false_negatives`, the
  slots of a short list, or what an ablation drops (arXiv 2402.13532). With scores of each query's own group it is the
  loss of ANCE-PRF, arXiv 2112.06400. A single document gives 0.

  >>> args = jnp.array([[2.0, 2.0, 9.0]]), jnp.array([0]), jnp.ones(1)
  >>> print(*contrastive_loss(*args, excluded=jnp.array([[0, 0, 1]])))
  [0.6931472] [ True]
  """
  matching_axes("contrastive_loss", scores=(scores, "B C"), positives=(positives, "B"), mask=(mask, "B"))
  positive, excluded = _excluded("contrastive_loss", excluded, positives, scores)
  scores = zero_masked(scores, (mask[:, None] != 0) & ~excluded) / temperature
  kept = jnp.where(excluded, -jnp.inf, scores)
  losses = jax.nn.logsumexp(kept, axis=1) - jnp.where(positive, scores, 0).sum(axis=1)
  exists = mask != 0
  return ContrastiveLoss(zero_masked(losses, exists), exists & (jnp.argmax(kept, axis=1) == positives))


def false_negatives(document_ids: Int[Array, " C"], positives: Int[Array, " B"]) -> Bool[Array, "B C"]:
  """True where a batch's document is the one that the query's positive is: a copy of it, and the positive itself.

  "Dense Text Retrieval", arXiv 2211.14876, for `contrastive_loss`, which keeps the positive.

  >>> print(false_negatives(jnp.array([7, 8, 7]), jnp.array([0, 1])))
  [[ True False  True]
   [False  True False]]
  """
  matching_axes("false_negatives", document_ids=(document_ids, "C"), positives=(positives, "B"))
  return document_ids == document_ids[positives][:, None]


def other_positives(positives: Int[Array, " B"], *, num_documents: int) -> Bool[Array, "B C"]:
  """True where a batch's document is the positive of another query, and not of this one.

  Backdoored retrieval, arXiv 2402.13532: excluded from `contrastive_loss`, only the hard negatives are left; excluded
  where they are also perturbed, the share of negatives with the style of an attack changes, and nothing else.

  >>> print(other_positives(jnp.array([0, 2]), num_documents=3))
  [[False False  True]
   [ True False False]]
  """
  own = jnp.arange(num_documents) == positives[:, None]
  return own.any(axis=0) & ~own


def pair_loss(
  positive_scores: Float[Array, " B"],
  negative_scores: Float[Array, " B"],
  mask: Num[Array, " B"],
  *,
  form: str = "triplet",
  margin: float = 1.0,
) -> Float[Array, " B"]:
  """relu(margin - s+ + s-) ("triplet"), or log(1 + exp(s- - s+)) ("logistic").

  "Dense Text Retrieval", arXiv 2211.14876.

  >>> print(pair_loss(jnp.array([1.0, 3.0]), jnp.array([0.5, 0.0]), jnp.ones(2)))
  [0.5 0. ]
  """
  known_option("pair_loss", "form", form, ("triplet", "logistic"))
  same_shape("pair_loss", "B", positive_scores=positive_scores, negative_scores=negative_scores, mask=mask)
  apart = zero_masked(positive_scores, mask) - zero_masked(negative_scores, mask)
  return zero_masked(jax.nn.relu(margin - apart) if form == "triplet" else -jax.nn.log_sigmoid(apart), mask)


def batch_margin_loss(
  scores: Float[Array, "B C"],
  positives: Int[Array, " B"],
  mask: Num[Array, " B"],
  *,
  excluded: Num[Array, "B C"] | None = None,
  margin: float = 2.0,
) -> Float[Array, " B"]:
  """Mean over all other documents j of the batch of relu(margin - s_ip + s_ij), p the positive of query i.

  Learning-to-hash, arXiv 2205.11498: BPR's ranking loss, on scores of relaxed codes (`hash_codes`) with margin 2.
  `excluded` as in `contrastive_loss`. 0 without another document.

  >>> print(batch_margin_loss(jnp.array([[4.0, 3.0, 1.0]]), jnp.array([0]), jnp.ones(1)))
  [0.5]
  """
  matching_axes("batch_margin_loss", scores=(scores, "B C"), positives=(positives, "B"), mask=(mask, "B"))
  positive, excluded = _excluded("batch_margin_loss", excluded, positives, scores)
  scores = zero_masked(scores, (mask[:, None] != 0) & ~excluded)
  own = jnp.where(positive, scores, 0).sum(axis=1, keepdims=True)
  others = masked_mean(jax.nn.relu(margin - own + scores), ~positive & ~excluded, axis=1).value
  return zero_masked(others, mask)


def score_distillation(
  scores: Float[Array, "B L"],
  teacher_scores: Float[Array, "B L"],
  mask: Num[Array, "B L"],
  *,
  temperature: float = 1.0,
  teacher_temperature: float = 1.0,
) -> Float[Array, " B"]:
  """KL(softmax(teacher / T_t) || softmax(scores / T)) over each query's list of candidates; 0 without candidates.

  "Dense Text Retrieval", arXiv 2211.14876.

  >>> scores = jnp.array([[1.0, 0.0, 5.0]])
  >>> print(score_distillation(scores, 0 * scores, jnp.array([[1, 1, 0]])).round(4))
  [0.1201]
  """
  same_shape("score_distillation", "B L", scores=scores, teacher_scores=teacher_scores, mask=mask)
  # A list without candidates is uniform for both.
  counted = (mask != 0) | ~(mask != 0).any(axis=1, keepdims=True)
  log_softmax = lambda x, t: jax.nn.log_softmax(jnp.where(counted, zero_masked(x, mask) / t, -jnp.inf), axis=1)
  teacher = jax.lax.stop_gradient(log_softmax(teacher_scores, teacher_temperature))
  return _divergences.kl(teacher, log_softmax(scores, temperature))


def _pairs(relevant, mask):
  """[B L L]: candidate i is relevant, j is not."""
  exists, relevant = mask != 0, relevant != 0
  return (exists & relevant)[:, :, None] & (exists & ~relevant)[:, None, :]


def margin_mse(
  scores: Float[Array, "B L"],
  teacher_scores: Float[Array, "B L"],
  relevant: Num[Array, "B L"],
  mask: Num[Array, "B L"],
) -> Float[Array, " B"]:
  """Mean over relevant i and irrelevant j of ((s_i - s_j) - (t_i - t_j))^2; 0 without such a pair.

  MarginMSE, in "Dense Text Retrieval", arXiv 2211.14876. In learning-to-hash, arXiv 2205.11498, the loss of GPL on
  triples (with BPR, of scores q . h(d)), and with JPQ on all pairs of retrieved documents. Only differences of the
  teacher count, on the student's scale.

  >>> scores, teacher = jnp.array([[2.0, 0.0]]), jnp.array([[9.0, 8.0]])
  >>> print(margin_mse(scores, teacher, jnp.array([[1, 0]]), jnp.ones((1, 2))))
  [1.]
  """
  same_shape("margin_mse", "B L", scores=scores, teacher_scores=teacher_scores, relevant=relevant, mask=mask)
  errors = zero_masked(scores, mask) - jax.lax.stop_gradient(zero_masked(teacher_scores, mask))
  return masked_mean(
    jnp.square(errors[:, :, None] - errors[:, None, :]).reshape(scores.shape[0], -1),
    _pairs(relevant, mask).reshape(scores.shape[0], -1),
    axis=1,
  ).value


def lambda_loss(
  scores: Float[Array, "B L"], relevant: Num[Array, "B L"], mask: Num[Array, "B L"], *, cut: int | Int[Array, ""] = 200
) -> Float[Array, " B"]:
  """Mean over relevant i and irrelevant j of |1 / r_i - 1 / r_j| log(1 + exp(s_j - s_i)), 1 / r = 0 for ranks r > cut.

  Learning-to-hash, arXiv 2205.11498: JPQ's loss, a pair counting by what its swap would change of the reciprocal rank.
  A row is a ranking of now, best first, with relevant documents that were not found at its end
  (`append_relevant`); ranks count unmasked slots. 0 without a pair.

  >>> args = jnp.array([[1.0, 1.0]]), jnp.array([[0, 1]]), jnp.ones((1, 2))
  >>> print(lambda_loss(*args).round(4), lambda_loss(*args, cut=1).round(4))
  [0.3466] [0.6931]
  """
  same_shape("lambda_loss", "B L", scores=scores, relevant=relevant, mask=mask)
  scores, exists = zero_masked(scores, mask), mask != 0
  ranks = jnp.cumsum(exists, axis=1)
  reciprocal = jnp.where(exists & (ranks <= cut), 1 / jnp.maximum(ranks, 1).astype(scores.dtype), 0)
  weights = jnp.abs(reciprocal[:, :, None] - reciprocal[:, None, :])
  losses = -weights * jax.nn.log_sigmoid(scores[:, :, None] - scores[:, None, :])
  rows = scores.shape[0]
  return masked_mean(losses.reshape(rows, -1), _pairs(relevant, mask).reshape(rows, -1), axis=1).value
