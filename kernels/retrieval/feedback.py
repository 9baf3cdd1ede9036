"""Second-round queries from the results of the first: pseudo relevance feedback. The index stays as it is.

ANCE-PRF, arXiv 2112.06400. Vector feedback needs no training. ANCE-PRF encodes the query and its first k results
together, with an encoder that starts as the query encoder and has a checkpoint for each k; it is trained by
`contrastive_loss` on scores of each query's own group of passages, one positive and 20 hard negatives, whose vectors
are fixed.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import matching_axes
from rl_jax.kernels.reductions import masked_mean, widen


class FeedbackInput(NamedTuple):
  """Tokens for the encoder; 0 and False after them."""

  tokens: Int[Array, "B L"]
  mask: Bool[Array, "B L"]


def _sum_of(documents, mask):
  exists = jnp.broadcast_to(mask[..., None] != 0, documents.shape)
  return masked_mean(documents, exists, axis=1)


def average_feedback(
  queries: Float[Array, "B D"], documents: Float[Array, "B K D"], mask: Num[Array, "B K"]
) -> Float[Array, "B D"]:
  """q' = (q + sum_k d_k) / (1 + k) over the unmasked results d of each query; without any, q.

  ANCE-PRF, arXiv 2112.06400, as in pyserini.

  >>> print(average_feedback(jnp.array([[3.0, 0.0]]), jnp.array([[[1.0, 4.0], [9.0, 9.0]]]), jnp.array([[1, 0]])))
  [[2. 2.]]
  """
  matching_axes("average_feedback", queries=(queries, "B D"), documents=(documents, "B K D"), mask=(mask, "B K"))
  found = _sum_of(documents, mask)
  return (widen(queries) + found.sum) / (1 + found.weight)


def rocchio(
  queries: Float[Array, "B D"],
  documents: Float[Array, "B K D"],
  mask: Num[Array, "B K"],
  *,
  bottom: Float[Array, "B J D"] | None = None,
  bottom_mask: Num[Array, "B J"] | None = None,
  alpha: float = 0.9,
  beta: float = 0.1,
  gamma: float = 0.1,
) -> Float[Array, "B D"]:
  """q' = alpha q + beta mean(d) - gamma mean(bottom): the first results d, and if given the last ones.

  ANCE-PRF, arXiv 2112.06400, as in pyserini; the default weights are from memory. The mean of no results is 0, so
  without feedback q' is alpha q, which ranks as q does.

  >>> documents = jnp.array([[[0.0, 2.0], [0.0, 4.0]]])
  >>> print(rocchio(jnp.array([[1.0, 0.0]]), documents, jnp.ones((1, 2)), alpha=1.0, beta=0.5))
  [[1.  1.5]]
  """
  matching_axes("rocchio", queries=(queries, "B D"), documents=(documents, "B K D"), mask=(mask, "B K"))
  moved = alpha * widen(queries) + beta * _sum_of(documents, mask).value
  if bottom is None:
    return moved
  if bottom_mask is None:
    raise ValueError("rocchio: bottom needs bottom_mask [B J]")
  matching_axes("rocchio", queries=(queries, "B D"), bottom=(bottom, "B J D"), bottom_mask=(bottom_mask, "B J"))
  return moved - gamma * _sum_of(bottom, bottom_mask).value


def feedback_input(
  query: Int[Array, "B Q"],
  query_mask: Num[Array, "B Q"],
  passages: Int[Array, "B K T"],
  passage_mask: Num[Array, "B K T"],
  *,
  cls: int,
  sep: int,
  length: int = 512,
) -> FeedbackInput:
  """[CLS] q [SEP] p_1 [SEP] ... p_k [SEP], cut off after `length` tokens.

  ANCE-PRF, arXiv 2112.06400. A passage without tokens has no separator either (not in the paper).

  >>> query, passages = jnp.array([[5, 6]]), jnp.array([[[7, 8], [9, 0]]])
  >>> print(feedback_input(query, query != 0, passages, passages != 0, cls=1, sep=2, length=8).tokens)
  [[1 5 6 2 7 8 2 9]]
  """
  arrays = dict(query=(query, "B Q"), query_mask=(query_mask, "B Q"))
  arrays |= dict(passages=(passages, "B K T"), passage_mask=(passage_mask, "B K T"))
  matching_axes("feedback_input", **arrays)
  exists, rows = passage_mask != 0, query.shape[0]
  ends = exists.any(axis=2, keepdims=True)
  pieces = jnp.concatenate([passages, jnp.full_like(passages[:, :, :1], sep)], axis=2).reshape(rows, -1)
  there = jnp.concatenate([exists, ends], axis=2).reshape(rows, -1)
  column = jnp.ones((rows, 1), query.dtype)
  tokens = jnp.concatenate([cls * column, query, sep * column, pieces], axis=1).astype(jnp.int32)
  there = jnp.concatenate([column != 0, query_mask != 0, column != 0, there], axis=1)
  places = jnp.where(there, jnp.cumsum(there, axis=1) - 1, length)
  joined = jnp.zeros((rows, length), jnp.int32).at[jnp.arange(rows)[:, None], places].set(tokens, mode="drop")
  return FeedbackInput(joined, jnp.arange(length) < there.sum(axis=1, keepdims=True))
