"""Scores of documents for queries, from their vectors or from those of their tokens."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels._checks import matching_axes
from rl_jax.kernels.reductions import widen, zero_masked


def _unit(x):
  """x over its length; 0 for a vector 0, without gradient."""
  squares = jnp.square(x).sum(axis=-1, keepdims=True)
  return jnp.where(squares > 0, x * jax.lax.rsqrt(jnp.where(squares > 0, squares, 1)), 0)


def similarity(
  queries: Float[Array, "B D"], documents: Float[Array, "*B C D"], *, cosine: bool = False
) -> Float[Array, "B C"]:
  """s_bc = q_b . d_c; with `cosine`, of both vectors over their lengths (then with a temperature of 0.01 to 0.1).

  "Dense Text Retrieval", arXiv 2211.14876. Documents are [C D], shared by all queries, or [B C D], each query's own:
  ANCE-PRF, arXiv 2112.06400, trains within groups. The cosine of a vector 0 is 0.

  >>> print(similarity(jnp.array([[3.0, 4.0]]), jnp.array([[1.0, 0.0], [0.0, 2.0]]), cosine=True).round(1))
  [[0.6 0.8]]
  """
  axes = "C D" if documents.ndim == 2 else "B C D"
  matching_axes("similarity", queries=(queries, "B D"), documents=(documents, axes))
  queries, documents = widen(queries), widen(documents)
  if cosine:
    queries, documents = _unit(queries), _unit(documents)
  return jnp.einsum(f"bd,{axes.replace(' ', '').lower()}->bc", queries, documents)


def max_similarity(
  query_tokens: Float[Array, "B S D"],
  document_tokens: Float[Array, "C T D"],
  query_mask: Num[Array, "B S"],
  document_mask: Num[Array, "C T"],
) -> Float[Array, "B C"]:
  """MaxSim: sum over query tokens of the largest inner product with a token of the document, masked ones left out.

  Late interaction, in "Dense Text Retrieval", arXiv 2211.14876. A query token adds 0 for a document without tokens.

  >>> queries, documents = jnp.array([[[1.0, 0.0], [0.0, 1.0]]]), jnp.array([[[2.0, 0.0], [1.0, 3.0]]])
  >>> print(max_similarity(queries, documents, jnp.ones((1, 2)), jnp.ones((1, 2))))
  [[5.]]
  """
  arrays = dict(query_tokens=(query_tokens, "B S D"), document_tokens=(document_tokens, "C T D"))
  masks = dict(query_mask=(query_mask, "B S"), document_mask=(document_mask, "C T"))
  matching_axes("max_similarity", **arrays, **masks)
  exists = document_mask[:, None, :] != 0
  products = jnp.einsum(
    "bsd,ctd->bcst",
    zero_masked(query_tokens, query_mask[..., None]),
    zero_masked(document_tokens, document_mask[..., None]),
  )
  closest = jnp.where(exists, products, -jnp.inf).max(axis=3, initial=-jnp.inf)
  return zero_masked(closest, exists.any(axis=2) & (query_mask[:, None, :] != 0)).sum(axis=2)
