"""Search: the documents of highest score, exact or among candidates, with vectors that may be compressed.

"Dense Text Retrieval", arXiv 2211.14876. A search is scores, a mask of candidates and `top_documents`: exact with all
documents, IVF with `inverted_candidates`, PQ with `product_scores`. Hard negatives are the top of a search whose mask
leaves the relevant documents out; denoised ones also those with a cross-encoder's probability of 0.1 or more.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import matching_axes, same_shape
from rl_jax.kernels._order import largest
from rl_jax.kernels.reductions import widen, zero_masked


class Candidates(NamedTuple):
  """Documents of each query with their labels, in the order of a ranking."""

  ids: Int[Array, "B L"]
  relevant: Bool[Array, "B L"]
  mask: Bool[Array, "B L"]


class Results(NamedTuple):
  """Documents of each query, best first; 0 and False where there are fewer than k."""

  ids: Int[Array, "B k"]
  mask: Bool[Array, "B k"]
  scores: Float[Array, "B k"]


def top_documents(scores: Float[Array, "B C"], mask: Num[Array, "B C"], *, k: int) -> Results:
  """The k candidates of highest score, of equal ones the lower id.

  "Dense Text Retrieval", arXiv 2211.14876.

  >>> print(top_documents(jnp.array([[0.5, 2.0, 2.0, 9.0]]), jnp.array([[1, 1, 1, 0]]), k=2).ids)
  [[1 2]]
  """
  same_shape("top_documents", "B C", scores=scores, mask=mask)
  ids, exists = largest(scores, mask, k)
  return Results(ids, exists, zero_masked(jnp.take_along_axis(zero_masked(scores, mask), ids, axis=1), exists))


def append_relevant(
  ranked: Int[Array, "B K"],
  ranked_mask: Num[Array, "B K"],
  relevant: Int[Array, "B R"],
  relevant_mask: Num[Array, "B R"],
) -> Candidates:
  """Results of a search, and behind them the relevant documents that are not among them.

  Learning-to-hash, arXiv 2205.11498: JPQ retrieves with the index of now in every step and trains on this list, L =
  K + R. Ids are 0 where the mask is.

  >>> ones = jnp.ones((1, 2))
  >>> ids, relevant, mask = append_relevant(jnp.array([[2, 5]]), ones, jnp.array([[5, 7]]), ones)
  >>> print(ids, relevant)
  [[2 5 0 7]] [[False  True False  True]]
  """
  arrays = dict(ranked=(ranked, "B K"), ranked_mask=(ranked_mask, "B K"))
  arrays |= dict(relevant=(relevant, "B R"), relevant_mask=(relevant_mask, "B R"))
  matching_axes("append_relevant", **arrays)
  found, wanted = ranked_mask != 0, relevant_mask != 0
  same = (ranked[:, :, None] == relevant[:, None, :]) & found[:, :, None] & wanted[:, None, :]
  missing = wanted & ~same.any(axis=1)
  mask = jnp.concatenate([found, missing], axis=1)
  ids = jnp.concatenate([ranked, relevant], axis=1).astype(jnp.int32)
  return Candidates(jnp.where(mask, ids, 0), jnp.concatenate([same.any(axis=2), missing], axis=1), mask)


def nearest_centroids(vectors: Float[Array, "N D"], centroids: Float[Array, "L D"]) -> Int[Array, " N"]:
  """argmin_l |x - c_l|^2, of equally near ones the first: the list of a document in an inverted index.

  "Dense Text Retrieval", arXiv 2211.14876. No gradient.

  >>> print(nearest_centroids(jnp.array([[0.0, 1.0], [3.0, 0.0]]), jnp.array([[0.0, 0.0], [4.0, 0.0]])))
  [0 1]
  """
  matching_axes("nearest_centroids", vectors=(vectors, "N D"), centroids=(centroids, "L D"))
  vectors, centroids = widen(vectors), widen(centroids)
  distances = jnp.square(centroids).sum(axis=1) - 2 * vectors @ centroids.T
  return jnp.argmin(distances, axis=1).astype(jnp.int32)


def inverted_candidates(
  queries: Float[Array, "B D"], centroids: Float[Array, "L D"], lists: Int[Array, " C"], *, probes: int
) -> Bool[Array, "B C"]:
  """IVF: True for documents in the `probes` lists whose centroids have the largest inner product with the query.

  "Dense Text Retrieval", arXiv 2211.14876. `lists` are those of `nearest_centroids`. All lists: an exact search.

  >>> candidates = inverted_candidates(jnp.array([[1.0, 0.0]]), jnp.eye(2), jnp.array([0, 1, 0]), probes=1)
  >>> print(candidates)
  [[ True False  True]]
  """
  arrays = dict(queries=(queries, "B D"), centroids=(centroids, "L D"), lists=(lists, "C"))
  matching_axes("inverted_candidates", **arrays)
  products = widen(queries) @ widen(centroids).T
  probed, _ = largest(products, jnp.ones_like(products), probes)
  return (lists[None, :, None] == probed[:, None, :]).any(axis=2)


def product_codes(vectors: Float[Array, "N D"], codebooks: Float[Array, "M K E"]) -> Int[Array, "N M"]:
  """The nearest entry of each codebook to its part of the vector: D numbers as M bytes, where K is 256.

  Product quantisation, in "Dense Text Retrieval", arXiv 2211.14876, and JPQ of learning-to-hash, arXiv 2205.11498.
  D = M E; vectors are rotated before (OPQ).

  >>> codebooks = jnp.array([[[0.0], [1.0]], [[0.0], [4.0]]])
  >>> print(product_codes(jnp.array([[0.9, 1.0], [0.2, 5.0]]), codebooks))
  [[1 0]
   [0 1]]
  """
  parts = _parts("product_codes", vectors, codebooks)
  return jax.vmap(nearest_centroids, in_axes=(1, 0), out_axes=1)(parts, codebooks)


def product_scores(
  queries: Float[Array, "B D"], codebooks: Float[Array, "M K E"], codes: Int[Array, "C M"]
) -> Float[Array, "B C"]:
  """s_bc = sum_m q_bm . codebook[m, code_cm]: inner products with the documents that the codes stand for.

  Product quantisation, in "Dense Text Retrieval", arXiv 2211.14876, by tables of q_m . codebook[m]. JPQ of
  learning-to-hash, arXiv 2205.11498, trains the codebooks and the queries by these scores, and keeps the codes.

  >>> codebooks = jnp.array([[[0.0], [1.0]], [[0.0], [4.0]]])
  >>> print(product_scores(jnp.array([[2.0, 3.0]]), codebooks, jnp.array([[1, 0], [1, 1]])))
  [[ 2. 14.]]
  """
  parts = _parts("product_scores", queries, codebooks)
  matching_axes("product_scores", codebooks=(codebooks, "M K E"), codes=(codes, "C M"))
  tables = jnp.einsum("bme,mke->bmk", parts, widen(codebooks))
  return tables[:, jnp.arange(codes.shape[1]), codes].sum(axis=2)


def _parts(function, vectors, codebooks):
  if codebooks.ndim != 3 or vectors.ndim != 2 or vectors.shape[1] != codebooks.shape[0] * codebooks.shape[2]:
    raise ValueError(
      f"{function}: expected vectors [N M*E] and codebooks [M K E], got {vectors.shape} and {codebooks.shape}"
    )
  return widen(vectors).reshape(vectors.shape[0], codebooks.shape[0], codebooks.shape[2])
