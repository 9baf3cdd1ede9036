"""Binary codes: a document as one bit per dimension, compared by Hamming distance.

BPR in learning-to-hash, arXiv 2205.11498. It is trained by `contrastive_loss` (or, with a teacher, `margin_mse`) on
scores q . h(d) of the dense query, plus `batch_margin_loss` on h(q) . h(d), h the relaxed code.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from rl_jax.kernels._checks import matching_axes
from rl_jax.kernels.reductions import widen
from rl_jax.kernels.retrieval.indexes import Results, top_documents


def hash_codes(
  vectors: Float[Array, "*N D"], *, step: int | Int[Array, ""] | None = None, gamma: float = 0.1
) -> Float[Array, "*N D"]:
  """h(v) = tanh(sqrt(1 + gamma step) v), which goes to the sign as training goes on; step None: sign(v), 1 at 0.

  BPR in learning-to-hash, arXiv 2205.11498. The sign has no gradient.

  >>> print(hash_codes(jnp.array([0.5, 0.0, -2.0])), hash_codes(jnp.array([0.5]), step=30).round(3))
  [ 1.  1. -1.] [0.762]
  """
  vectors = widen(vectors)
  if step is None:
    return jnp.where(vectors >= 0, 1, -1).astype(vectors.dtype)
  return jnp.tanh(jnp.sqrt(1 + gamma * jnp.asarray(step, vectors.dtype)) * vectors)


def pack_codes(vectors: Float[Array, "*N D"]) -> UInt8[Array, "*N W"]:
  """The signs of a vector as bits, 8 to a byte, the first in the highest place; W = ceil(D / 8), filled up with 0.

  BPR in learning-to-hash, arXiv 2205.11498.

  >>> print(pack_codes(jnp.array([1.0, -1.0, -1.0, -1.0, 1.0, -1.0])))
  [136]
  """
  return jnp.packbits(vectors >= 0, axis=-1)


def bpr_search(
  queries: Float[Array, "B D"], packed: UInt8[Array, "C W"], *, k: int, num_candidates: int = 1000
) -> Results:
  """The k documents of highest q . code among the `num_candidates` of least Hamming distance to the query's code.

  BPR in learning-to-hash, arXiv 2205.11498; `packed` are the documents' codes. Of equal documents the lower id comes
  first, in both stages.

  >>> packed = pack_codes(jnp.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]]))
  >>> found = bpr_search(jnp.array([[0.5, 2.0]]), packed, k=2, num_candidates=2)
  >>> print(found.ids, found.scores)
  [[0 1]] [[2.5 1.5]]
  """
  width = -(-queries.shape[1] // 8)
  if packed.shape[1:] != (width,):
    raise ValueError(f"bpr_search: expected packed [C {width}] for queries [B {queries.shape[1]}], got {packed.shape}")
  matching_axes("bpr_search", queries=(queries, "B D"), packed=(packed, "C W"))
  queries = widen(queries)
  differing = jax.lax.population_count(pack_codes(queries)[:, None] ^ packed)
  distances = differing.astype(jnp.int32).sum(axis=2, dtype=jnp.int32)
  near = top_documents(-distances, jnp.ones_like(distances), k=num_candidates).ids
  candidates = jnp.put_along_axis(jnp.zeros(distances.shape, bool), near, True, axis=1, inplace=False)
  bits = jnp.unpackbits(packed, axis=1, count=queries.shape[1])
  return top_documents(queries @ (2 * bits.astype(queries.dtype) - 1).T, candidates, k=k)
