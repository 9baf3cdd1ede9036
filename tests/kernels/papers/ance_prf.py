"""ANCE-PRF (arXiv 2112.06400): vector feedback, the input and the loss of its encoder, and metrics."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.reductions import masked_mean
from rl_jax.kernels.retrieval import feedback, indexes, losses
from rl_jax.kernels.retrieval.metrics import ranking_metrics
from rl_jax.kernels.retrieval.scores import similarity
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  kinds = {"rocchio_negative": negative, "input_ids": tokens, "train_loss": train, "metrics": quality}
  return kinds.get(case, rounds)(**inputs)


def rounds(q, docs, prf_depth, alpha, beta):
  """The results of the first round are masked beyond the depth, so that one program serves all depths."""
  outputs = _rounds(q[None], docs, np.arange(3) < prf_depth, alpha, beta)
  return outputs | {"feedback_ids": outputs["feedback_ids"][:prf_depth].tolist()}


@quick_jit
def _rounds(q, docs, mask, alpha, beta):
  top = lambda query, k: indexes.top_documents(similarity(query, docs), jnp.ones((1, docs.shape[0])), k=k).ids
  first = top(q, mask.size)
  feed = docs[first], mask[None]
  average, rocchio = feedback.average_feedback(q, *feed), feedback.rocchio(q, *feed, alpha=alpha, beta=beta)
  return {
    "feedback_ids": first[0],
    "average": average[0],
    "rocchio": rocchio[0],
    "second_round_average": top(average, 5)[0],
    "second_round_rocchio": top(rocchio, 5)[0],
  }


def negative(q, docs, top, bottom, **weights):
  @quick_jit
  def moved(q, first, last):
    ones = lambda x: jnp.ones(x.shape[:2])
    return feedback.rocchio(q, first, ones(first), bottom=last, bottom_mask=ones(last), **weights)[0]

  return {"q": moved(q[None], docs[top][None], docs[bottom][None])}


def tokens(query, passages, cls, sep, max_len):
  padded, mask = np.zeros((1, 3, 3), np.int32), np.zeros((1, 3, 3), bool)
  for i, passage in enumerate(passages):
    padded[0, i, : len(passage)], mask[0, i, : len(passage)] = passage, True
  join = partial(feedback.feedback_input, cls=cls, sep=sep)

  def joined(length):
    found = quick_jit(partial(join, length=length))(query[None], query[None] == query[None], padded, mask)
    return found.tokens[found.mask]

  return {"ids": joined(max_len), "full": joined(20)}


def train(prf_q, passages, n_passages):
  groups, mask = prf_q.shape[0], jnp.ones(prf_q.shape[0])

  @quick_jit
  def both(q, passages):
    own = similarity(q, passages.reshape(groups, n_passages, -1))
    starts = n_passages * jnp.arange(groups)
    found = (
      losses.contrastive_loss(own, 0 * starts, mask),
      losses.contrastive_loss(similarity(q, passages), starts, mask),
    )
    return [masked_mean(x.losses, mask).value for x in found]

  return dict(zip(("group_loss", "in_batch_loss"), both(prf_q, passages), strict=True))


def quality(gains, ideal, k):
  @partial(jax.jit, static_argnames="k")
  def at(gains, ideal, k):
    return jax.tree.map(lambda x: x[0], ranking_metrics(gains[None], jnp.ones((1, gains.size)), ideal[None], k=k))

  return {
    "ndcg": at(gains, ideal, k).ndcg,
    "mrr10": at(gains, ideal, 10).reciprocal_rank,
    "mrr_none": at(0 * gains, ideal, 10).reciprocal_rank,
    "ndcg_no_relevant": at(0 * gains, 0 * ideal, k).ndcg,
  }
