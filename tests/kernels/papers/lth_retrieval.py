"""Learning-to-hash (arXiv 2205.11498): BPR and JPQ with their losses, also as released."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.reductions import masked_mean
from rl_jax.kernels.retrieval import hashing, indexes, losses
from rl_jax.kernels.retrieval.scores import similarity
from tests.kernels.kernel import quick_jit
from tests.kernels.papers.as_released import first_two_margin_mse


def compute(case, inputs):
  if "centroids" in inputs:
    return quantised(**inputs)
  if "docs" in inputs:
    return search(**inputs)
  return hashed(**inputs)


def mean(x):
  return masked_mean(x, jnp.ones(x.shape)).value


def triples(positive, negative, margins):
  """A list of two documents for each query, the first relevant, and a teacher with that margin between them."""
  scores, teacher = jnp.stack([positive, negative], axis=1), jnp.stack([margins, 0 * margins], axis=1)
  every = jnp.ones(scores.shape)
  return mean(losses.margin_mse(scores, teacher, every.at[:, 1].set(0), every))


def hashed(q, pos, neg, step, teacher_margin=None, hashnet_gamma=0.1, margin=2.0):
  @quick_jit
  def outputs(q, pos, neg, step, teacher_margin):
    rows = jnp.arange(q.shape[0])
    codes = partial(hashing.hash_codes, step=step, gamma=hashnet_gamma)
    documents = jnp.concatenate([pos, neg])
    dense, binary = similarity(q, codes(documents)), similarity(codes(q), codes(documents))
    ranking = mean(losses.batch_margin_loss(binary, rows, jnp.ones(q.shape[0]), margin=margin))
    found = {
      "dense_softmax": mean(losses.contrastive_loss(dense, rows, jnp.ones(q.shape[0])).losses),
      "binary": ranking,
    }
    if teacher_margin is None:
      return found
    own = lambda scores: (scores[rows, rows], scores[rows, rows + q.shape[0]])
    return found | {
      "margin_mse": triples(*own(dense), teacher_margin),
      "binary_gpl": ranking,
      "authors_bug_margin_mse": first_two_margin_mse(dense, teacher_margin),
      "plain_margin_mse": triples(*own(similarity(q, documents)), teacher_margin),
    }

  return outputs(q, pos, neg.reshape(-1, q.shape[1]), jnp.asarray(step), teacher_margin)


def search(q, docs, num_candidates, k):
  packed = hashing.pack_codes(docs)
  found = quick_jit(partial(hashing.bpr_search, k=k, num_candidates=num_candidates))(q[None], packed)
  return {"codes": hashing.hash_codes(docs), "packed": packed, "ids": found.ids[0], "scores": found.scores[0]}


def quantised(q, docs, centroids, retrieved, relevant, lambda_cut, teacher):
  """Lists of up to 4 results and 2 relevant documents, so that one program serves all cases."""
  padded = [np.resize(ids, (1, size)) for ids, size in ((retrieved, 4), (relevant, 2))]
  masks = [(np.arange(size) < ids.size)[None] for ids, size in ((retrieved, 4), (relevant, 2))]
  return _quantised(q[None], docs, centroids, *padded, *masks, lambda_cut, teacher)


@quick_jit
def _quantised(q, docs, centroids, retrieved, relevant, retrieved_mask, relevant_mask, cut, teacher):
  codes = indexes.product_codes(docs, centroids)
  ids, labels, mask = indexes.append_relevant(retrieved, retrieved_mask, relevant, relevant_mask)
  scores = jnp.take_along_axis(indexes.product_scores(q, centroids, codes), ids, axis=1)
  return {
    "pq_codes": codes,
    "lambda_loss": losses.lambda_loss(scores, labels, mask, cut=cut)[0],
    "gpl_loss": losses.margin_mse(scores, teacher[ids], labels, mask)[0],
  }
