"""Latents that occur in the same documents, and documents with the same latents.

SAE embeddings, arXiv 2512.10092. `present` [B F] is True where latent f occurs in document b. Correlations between
latents whose labels have nothing in common are the ones to look at: triggers, biases of a data set, reward hacks.
Nothing carries a gradient. Every statistic is symmetric, and a permutation of documents or latents permutes it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from rl_jax.kernels._checks import matching_axes, same_shape
from rl_jax.kernels.reductions import widen

FEW = 1e-10
"""Added to counts, so that their logarithms exist."""


def _joint(left, right, mask):
  """Numbers of unmasked documents with both latents [F G], and with each [F], [G]; and of documents."""
  exists = (mask != 0)[:, None]
  left, right = (widen(exists & (x != 0)) for x in (left, right))
  return left.T @ right, left.sum(axis=0), right.sum(axis=0), widen(exists).sum()


def npmi(
  present: Num[Array, "B F"],
  mask: Num[Array, " B"],
  *,
  other_present: Num[Array, "B G"] | None = None,
  disjoint: float = 0.0,
) -> Float[Array, "F G"]:
  """Normalised pointwise mutual information: log(P_ij / (P_i P_j)) / -log P_ij, P = (count + 1e-10) / N.

  1 for latents that are always together, 0 for independent ones. A pair that never occurs together gets `disjoint`: 0
  in the code, which only visits pairs that do; the limit of the formula is -1. The diagonal is 1, for latents that
  never occur too. `other_present` are other latents of the same documents (of the prompt, where `present` is of the
  response): then there is no rule for a diagonal. A latent in almost every document gives values around 0 of either
  sign, by rounding.

  >>> print(npmi(jnp.array([[1, 1, 0, 0], [1, 1, 0, 1], [0, 0, 1, 0], [0, 0, 1, 1]]), jnp.ones(4)))
  [[1. 1. 0. 0.]
   [1. 1. 0. 0.]
   [0. 0. 1. 0.]
   [0. 0. 0. 1.]]
  """
  other = present if other_present is None else other_present
  matching_axes("npmi", present=(present, "B F"), other_present=(other, "B G"), mask=(mask, "B"))
  both, left, right, documents = _joint(present, other, mask)
  documents = jnp.maximum(documents, 1)
  log_both, log_left, log_right = (jnp.log((count + FEW) / documents) for count in (both, left, right))
  everywhere = jnp.abs(log_both) < FEW
  information = (log_both - log_left[:, None] - log_right) / jnp.where(everywhere, 1, -log_both)
  values = jnp.where(both > 0, jnp.where(everywhere, 1, information), disjoint)
  if other_present is None:
    values = jnp.where(jnp.eye(values.shape[0], dtype=bool), 1, values)
  return jax.lax.stop_gradient(values)


def conditional_occurrence(present: Num[Array, "B F"], mask: Num[Array, " B"]) -> Float[Array, "F F"]:
  """max(P(i | j), P(j | i)): 1 if one of the two latents never comes without the other; 0 if one never occurs.

  >>> print(conditional_occurrence(jnp.array([[1, 1, 0], [0, 1, 0], [0, 1, 0]]), jnp.ones(3)))
  [[1. 1. 0.]
   [1. 1. 0.]
   [0. 0. 0.]]
  """
  matching_axes("conditional_occurrence", present=(present, "B F"), mask=(mask, "B"))
  both, left, right, _ = _joint(present, present, mask)
  return jax.lax.stop_gradient(both / jnp.maximum(jnp.minimum(left[:, None], right), 1))


def correlated_pairs(
  correlations: Float[Array, "F F"],
  label_similarity: Float[Array, "F F"],
  *,
  threshold: float = 0.5,
  max_similarity: float = 0.2,
) -> Bool[Array, "F F"]:
  """True at i < j where npmi_ij > threshold and S_ij < max_similarity: occur together, though their labels say nothing.

  S is the cosine of the labels' embeddings. Thresholds of the paper are 0.5 to 0.8. It then drops labels of syntax and
  pairs that fire on the same or neighbouring tokens, which needs the labels and the text.

  >>> print(correlated_pairs(jnp.array([[1.0, 0.6], [0.6, 1.0]]), jnp.array([[1.0, 0.1], [0.1, 1.0]])))
  [[False  True]
   [False False]]
  """
  same_shape("correlated_pairs", "F F", correlations=correlations, label_similarity=label_similarity)
  return jnp.triu((correlations > threshold) & (label_similarity < max_similarity), k=1)


def jaccard(present: Num[Array, "B F"], mask: Num[Array, " B"]) -> Float[Array, "B B"]:
  """|i and j| / |i or j| of the latents of two documents: the affinity for spectral clustering.

  Choose the latents to cluster by beforehand: the rest is not present. Two documents without latents have 0, each
  document 1 with itself (neither is in the paper), masked ones 0.

  >>> print(jaccard(jnp.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]]), jnp.ones(3)))
  [[1.  0.5 0. ]
   [0.5 1.  0. ]
   [0.  0.  1. ]]
  """
  matching_axes("jaccard", present=(present, "B F"), mask=(mask, "B"))
  exists = mask != 0
  latents = widen(exists[:, None] & (present != 0))
  both, size = latents @ latents.T, latents.sum(axis=1)
  values = both / jnp.maximum(size[:, None] + size - both, 1)
  return jax.lax.stop_gradient(jnp.where(jnp.eye(exists.size, dtype=bool) & exists, 1, values))
