"""Dense retrieval (arXiv 2211.14876): scores, losses, indexes and metrics."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp

from rl_jax.kernels.reductions import masked_mean
from rl_jax.kernels.retrieval import indexes, losses, metrics
from rl_jax.kernels.retrieval.scores import max_similarity, similarity
from tests.kernels.kernel import quick_jit

SKIPPED = {("metrics", "denoised"): "the cross-encoder's probabilities that it is computed from are not in the case"}


def compute(case, inputs):
  if case == "metrics":
    return quality(**inputs)
  kinds = {"pairwise": pairwise, "distill": distill, "maxsim_masked": late, "indexes": search}
  static = {name: inputs.pop(name) for name in ("k",) if name in inputs}
  return quick_jit(partial(kinds.get(case, in_batch), **static))(**inputs)


def mean(x):
  return masked_mean(x, jnp.ones(x.shape)).value


def in_batch(q, docs, positive_idx, temperature, false_negative_mask=None):
  found = losses.contrastive_loss(
    similarity(q, docs),
    positive_idx,
    jnp.ones(q.shape[0]),
    excluded=false_negative_mask,
    temperature=temperature,
  )
  return {"loss": mean(found.losses)}


def pairwise(q, pos, neg, margin):
  own = lambda documents: similarity(q, documents[:, None])[:, 0]
  scores = own(pos), own(neg), jnp.ones(q.shape[0])
  return {
    "triplet": mean(losses.pair_loss(*scores, margin=margin)),
    "logistic": mean(losses.pair_loss(*scores, form="logistic")),
  }


def distill(student_scores, teacher_scores):
  every = jnp.ones(student_scores.shape)
  relevant, pair = every.at[:, 1:].set(0), every.at[:, 2:].set(0)  # the reference has one positive and one negative
  kl = lambda student, **options: mean(losses.score_distillation(student, teacher_scores, every, **options))
  return {
    "kl": kl(student_scores),
    "kl_teacher_T3": kl(student_scores, teacher_temperature=3.0),
    "kl_same": kl(teacher_scores),
    "margin_mse": mean(losses.margin_mse(student_scores, teacher_scores, relevant, pair)),
  }


def late(q_tokens, d_tokens, q_mask, d_mask):
  score = lambda q_mask, d_mask: max_similarity(q_tokens[None], d_tokens[None], q_mask[None], d_mask[None])[0, 0]
  return {"masked": score(q_mask, d_mask), "full": score(jnp.ones_like(q_mask), jnp.ones_like(d_mask))}


def search(q, docs, ivf_centroids, pq_codebooks, pq_codes, k):
  queries, every = q[None], jnp.ones((1, docs.shape[0]))
  top = lambda mask: indexes.top_documents(similarity(queries, docs), mask, k=k).ids[0]
  lists = indexes.nearest_centroids(docs, ivf_centroids)
  probed = lambda probes: indexes.inverted_candidates(queries, ivf_centroids, lists, probes=probes)
  return {
    "flat": top(every),
    "ivf_assign": lists,
    "ivf_nprobe1": top(probed(1)),
    "ivf_nprobe_all": top(probed(ivf_centroids.shape[0])),
    "pq_scores": indexes.product_scores(queries, pq_codebooks, pq_codes)[0],
  }


def quality(ranked, relevant, k):
  def at_k(relevant):
    gains = [[relevant.get(str(document), 0) for document in ranked.tolist()]]
    found = metrics.ranking_metrics(
      jnp.array(gains), jnp.ones((1, len(ranked))), jnp.array([[*relevant.values(), 0]]), k=k
    )
    return {"recall": found.recall[0], "mrr": found.reciprocal_rank[0], "ndcg": found.ndcg[0]}

  return {**at_k(relevant), "none": at_k({})}
