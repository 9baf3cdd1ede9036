"""Logprobs and entropies from hidden states and the output matrix: the logits [N, V] never exist."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import known_option
from rl_jax.kernels.logprobs import reference
from rl_jax.kernels.logprobs._blocks import largest
from rl_jax.kernels.logprobs.chunked import Chunked
from rl_jax.kernels.logprobs.placement import Placement
from rl_jax.kernels.logprobs.readout import LAYOUTS, Readout
from rl_jax.kernels.logprobs.recomputed import Recomputed
from rl_jax.kernels.reductions import zero_masked

IMPLEMENTATIONS = ("reference", "chunked", "pallas")
DEFAULT = {"cpu": "chunked", "gpu": "chunked", "tpu": "chunked"}
"""Implementation that None selects on each platform; Pallas is entered once measured to be faster there."""


class LinearLogprobs(NamedTuple):
  """Logprob of each row's target, entropy of each row, and with top_k the k largest logprobs with their tokens."""

  logprobs: Float[Array, "*N"]
  entropies: Float[Array, "*N"]
  top_logprobs: Float[Array, "*N K"] | None = None
  top_tokens: Int[Array, "*N K"] | None = None


def linear_logprobs(
  hidden: Float[Array, "*N D"],
  matrix: Float[Array, "..."],
  targets: Int[Array, "*N"],
  mask: Num[Array, "*N"],
  *,
  layout: str,
  temperature: float = 1.0,
  soft_cap: float | None = None,
  top_k: int = 0,
  placement: Placement | None = None,
  implementation: str | None = None,
) -> LinearLogprobs:
  """log p(target) and the entropy of p = softmax(z), z = cap(hidden @ matrix) / temperature, row by row.

  cap(x) = soft_cap tanh(x / soft_cap), or x. No shift: row n of `hidden` is what target n is drawn from (`align` puts
  results of rows t - 1 to tokens t). Both outputs have exact gradients by hidden states and matrix, for which blocks of
  scores are computed again: beyond inputs and outputs, memory grows with N and V, never with N V. Statistics and sums
  are in float32 (float64 for float64 inputs); in bfloat16, the gradient by the scores is rounded to it before its two
  products, as inputs of any product are. The k largest logprobs carry no gradient.

  Args:
    hidden: [..., D], any leading axes. Values in masked rows (NaN, inf) have no effect.
    matrix: [D, V] with `layout` "DV", [V, D] with "VD".
    targets: ids in [0, V). Another id in an unmasked row: a logprob of about -1e30 (reference: NaN or wrong).
    mask: rows that are wanted; the others hold 0.
    placement: the mesh axes of rows and vocabulary. Without one rows may be sharded, but a sharded vocabulary would be
      gathered; the reference leaves all of it to the compiler.
    implementation: "reference" (holds the logits), "chunked" (plain XLA), "pallas" (GPU or TPU); None chooses by
      platform. A name that cannot run here is an error.

  >>> hidden, matrix = jnp.array([[1.0, 0.0]]), jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
  >>> found = linear_logprobs(hidden, matrix, jnp.array([1]), jnp.ones(1), layout="DV")
  >>> print(found.logprobs.round(4), found.entropies.round(4))
  [-1.3863] [1.0397]
  """
  axes = targets.shape
  _check(hidden, matrix, targets, mask, layout, temperature, soft_cap, top_k)
  name = _chosen(implementation, top_k)
  # The type stays: widening as `zero_masked` does would double what the products of bfloat16 read.
  hidden = jnp.where(mask[..., None] != 0, hidden, jnp.zeros((), hidden.dtype)).reshape(-1, hidden.shape[-1])
  targets = jnp.where(mask != 0, targets, 0).reshape(-1)
  if name == "reference":
    scores = reference.linear_scores(hidden, matrix, layout=layout, soft_cap=soft_cap)
    rows = (*reference.categorical(scores, targets, temperature=temperature), *_top(scores / temperature, top_k))
  else:
    if placement is not None:
      placement.check("linear_logprobs", targets.size, matrix.shape[layout.index("V")])
    readout = Readout(layout, temperature, soft_cap)
    rows = tuple(Recomputed(_passes(name, hidden.shape[1]), readout, top_k, placement)(hidden, matrix, targets))
  logprobs, entropies, *top = (x.reshape(*axes, *x.shape[1:]) for x in rows)
  outputs = LinearLogprobs(zero_masked(logprobs, mask), zero_masked(entropies, mask))
  if not top_k:
    return outputs
  top_logprobs, top_tokens = jax.lax.stop_gradient(top[0]), top[1]
  return outputs._replace(
    top_logprobs=zero_masked(top_logprobs, mask[..., None]), top_tokens=jnp.where(mask[..., None] != 0, top_tokens, 0)
  )


def _passes(name, width):
  if name == "chunked":
    return Chunked.sized(width)
  # Imported where they run: Pallas is experimental, and one of its backends may be missing from a version of JAX.
  if jax.default_backend() == "gpu":
    from rl_jax.kernels.logprobs.pallas_gpu import PallasGPU

    return PallasGPU()
  from rl_jax.kernels.logprobs.pallas_tpu import PallasTPU

  return PallasTPU()


def _top(scores, top_k):
  return largest(jax.nn.log_softmax(scores, axis=-1), top_k)


def _chosen(implementation, top_k):
  platform = jax.default_backend()
  if implementation is None:
    return DEFAULT.get(platform, "chunked") if not top_k else "chunked"
  known_option("linear_logprobs", "implementation", implementation, IMPLEMENTATIONS)
  if implementation == "pallas" and platform not in ("gpu", "tpu"):
    raise ValueError(f"linear_logprobs: 'pallas' runs on gpu and tpu, this is {platform}; use 'chunked' or None")
  if implementation == "pallas" and top_k:
    raise ValueError(f"linear_logprobs: 'pallas' finds no top k, got top_k={top_k}; use 'chunked' or None")
  return implementation


def _check(hidden, matrix, targets, mask, layout, temperature, soft_cap, top_k):
  known_option("linear_logprobs", "layout", layout, LAYOUTS)
  if hidden.ndim < 1 or hidden.shape[:-1] != targets.shape or mask.shape != targets.shape:
    got = f"{hidden.shape}, {targets.shape}, {mask.shape}"
    raise ValueError(f"linear_logprobs: expected hidden [*N D], targets [*N] and mask [*N], got {got}")
  if matrix.ndim != 2 or matrix.shape[layout.index("D")] != hidden.shape[-1]:
    raise ValueError(
      f"linear_logprobs: expected a matrix [{' '.join(layout)}] with D = {hidden.shape[-1]}, got {matrix.shape}"
    )
  if temperature <= 0 or (soft_cap is not None and soft_cap <= 0):
    raise ValueError(f"linear_logprobs: temperature and soft_cap are above 0, got {temperature} and {soft_cap}")
  vocabulary = matrix.shape[layout.index("V")]
  if not 0 <= top_k <= vocabulary:
    raise ValueError(f"linear_logprobs: expected top_k between 0 and {vocabulary}, the vocabulary, got {top_k}")
