"""SAE embeddings (arXiv 2512.10092): codes, differences and co-occurrence of latents, and retrieval by them."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.activations import cooccurrence, differences, latent_retrieval, sparse_codes
from rl_jax.kernels.retrieval import metrics
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  kinds = {"encode_pool": encode, "diffing": diffing, "npmi": correlate, "retrieval": retrieve}
  static = {name: inputs.pop(name) for name in ("topk",) if name in inputs}
  outputs = quick_jit(partial(kinds.get(case, affinities), **static))(**inputs)
  return outputs | {name: np.argwhere(outputs[name]) for name in ("pairs_0.05",) if name in outputs}


def encode(x, W_enc, b_enc, topk, mask):
  codes = sparse_codes.top_k_codes(x[None], W_enc, b_enc, jnp.ones((1, x.shape[0])), k=topk)
  pools = {pool: sparse_codes.pool_codes(codes, mask[None], pool=pool)[0] for pool in sparse_codes.POOLS}
  return {"acts": codes[0], **pools}


def diffing(B, B2, B3):
  mask = jnp.ones(B.shape[0])
  first, second = (differences.frequencies(x, mask) for x in (B, B2))
  absolute = differences.frequency_differences(first, second)
  models = differences.model_differences(B, jnp.stack([B2, B3]), mask)
  return {
    "freq": first,
    "absolute": absolute,
    "relative": differences.frequency_differences(first, second, form="relative"),
    "coverage_masked": differences.frequency_differences(first, second, min_coverage=0.2, max_coverage=0.6),
    "target_minus_any": models.above_any,
    "all_minus_target": models.below_all,
    "top": differences.top_latents(absolute, k=2).indices,
  }


def correlate(B, B2, label_similarity):
  mask = jnp.ones(B.shape[0])
  values = cooccurrence.npmi(B, mask)
  conditional = cooccurrence.conditional_occurrence(B, mask)
  pairs = cooccurrence.correlated_pairs(values, label_similarity, threshold=0.05)
  return {
    "npmi": values,
    "cross": cooccurrence.npmi(B, mask, other_present=B2),
    "co_01": conditional[0, 1],
    "co_dead": conditional[0, 4],
    "pairs_0.05": pairs,
  }


def affinities(B):
  mask = jnp.ones(B.shape[0])
  if B.shape[0] == 3:
    return {"npmi": cooccurrence.npmi(B, mask)}
  return {"jaccard": cooccurrence.jaccard(B, mask)}


def order(scores):
  return jnp.argsort(-scores, stable=True)


def retrieve(E, ranked_latents, T, relevant, other_ranking):
  mask = jnp.ones(E.shape[0])
  scaled = latent_retrieval.scale_latents(E, mask)
  scores, weights = latent_retrieval.latent_scores(scaled, ranked_latents, mask, temperature=T)
  ranking = order(scores)
  gains = jnp.isin(ranking, relevant).astype(E.dtype)[None]
  quality = metrics.ranking_metrics(gains, jnp.ones(gains.shape), gains)
  ranks = jnp.stack([jnp.argsort(ids) + 1 for ids in (ranking, other_ranking)])
  rates = jnp.array([relevant.size / E.shape[0]], E.dtype)
  return {
    "normalised": scaled,
    "weights": weights,
    "scores": scores,
    "ranking": ranking,
    "AP": quality.average_precision[0],
    "P@3": metrics.ranking_metrics(gains, jnp.ones(gains.shape), gains, k=3).precision[0],
    "AP_none": metrics.ranking_metrics(0 * gains, jnp.ones(gains.shape), 0 * gains).average_precision[0],
    "rrf": order(metrics.reciprocal_rank_fusion(ranks, jnp.ones(ranks.shape))),
    "nap": metrics.normalized_average_precision(quality.average_precision, rates)[0],
  }
