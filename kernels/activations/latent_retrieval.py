"""Retrieval of documents by a property that their text does not state: by a few latents that a query ranks.

SAE embeddings, arXiv 2512.10092. A model picks and orders the latents whose labels fit the query; how good the ranking
of documents is, `retrieval.ranking_metrics` says. Nothing carries a gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import matching_axes
from rl_jax.kernels.reductions import widen, zero_masked


class LatentScores(NamedTuple):
  """Scores of the documents, 0 for masked ones, and the weights of the latents, the first of which fits best."""

  scores: Float[Array, " B"]
  weights: Float[Array, " K"]


def scale_latents(
  embeddings: Float[Array, "B F"], mask: Num[Array, " B"], *, percentile: float = 90.0
) -> Float[Array, "B F"]:
  """E_f / p90_f, p90 the 90th percentile of the values of latent f that are not 0; 1 where all are.

  The percentile is interpolated linearly between values: not in the paper. Results may exceed 1.

  >>> print(scale_latents(jnp.array([[1.0, 0.0], [3.0, 0.0], [0.0, 0.0]]), jnp.ones(3), percentile=50.0))
  [[0.5 0. ]
   [1.5 0. ]
   [0.  0. ]]
  """
  matching_axes("scale_latents", embeddings=(embeddings, "B F"), mask=(mask, "B"))
  embeddings = zero_masked(embeddings, mask[:, None])
  scale = jnp.nanpercentile(jnp.where(embeddings != 0, embeddings, jnp.nan), percentile, axis=0)
  return jax.lax.stop_gradient(embeddings / jnp.where(jnp.isnan(scale), 1, scale))


def latent_scores(
  embeddings: Float[Array, "B F"], latents: Int[Array, " K"], mask: Num[Array, " B"], *, temperature: float = 0.2
) -> LatentScores:
  """s_b = sum_r w_r E_{b, latent_r}, w_r = exp(-(r / K) / T), r = 1 .. K: the better a latent fits, the more it counts.

  `embeddings` are those of `scale_latents`. The formula of the weights is reconstructed from a garbled text, and where
  T stands in it is our reading; 0.2 is the paper's best.

  >>> scores, weights = latent_scores(jnp.eye(2), jnp.array([1, 0]), jnp.ones(2), temperature=0.5)
  >>> print(weights, scores[0] == weights[1])
  [0.36787945 0.13533528] True
  """
  matching_axes("latent_scores", embeddings=(embeddings, "B F"), latents=(latents, "K"), mask=(mask, "B"))
  embeddings = zero_masked(embeddings, mask[:, None])
  ranks = jnp.arange(1, latents.shape[0] + 1, dtype=widen(embeddings[:0]).dtype)
  weights = jnp.exp(-ranks / (max(latents.shape[0], 1) * temperature))
  return jax.lax.stop_gradient(LatentScores(embeddings[:, latents] @ weights, weights))
