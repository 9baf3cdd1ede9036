"""Codes of a sparse autoencoder: activations [.. D] of a model as a few active latents of F, and back.

The encoder's matrix is [D F], the decoder's [F D]. Gradients go to every argument; the autoencoders of both papers are
frozen. Tokens with mask 0 give codes 0.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels._checks import known_option, matching_axes
from rl_jax.kernels.reductions import masked_mean, widen, zero_masked

POOLS = ("max", "sum", "mean", "count")


def _affine(function, x, weight, bias, mask):
  """x W + b of every token, in the shape of x, with x 0 where the mask is."""
  if x.shape[:-1] != mask.shape:
    raise ValueError(f"{function}: expected x [.. D] and mask [..], got {x.shape} and {mask.shape}")
  matching_axes(function, x=(x.reshape(-1, x.shape[-1]), "N D"), weight=(weight, "D F"), bias=(bias, "F"))
  return zero_masked(x, mask[..., None]) @ widen(weight) + widen(bias)


def top_k_codes(
  x: Float[Array, "*N D"],
  weight: Float[Array, "D F"],
  bias: Float[Array, " F"],
  mask: Num[Array, "*N"],
  *,
  k: int | None = None,
  decoder_norms: Float[Array, " F"] | None = None,
) -> Float[Array, "*N F"]:
  """a = relu(x W + b), of which the k largest of a token stay; None: all.

  SAE embeddings, arXiv 2512.10092. Of equal latents the lowest index stays (not in the paper). An autoencoder trained
  with k per batch has a threshold at inference instead: `jump_relu_codes`. `decoder_norms`, the lengths of the
  decoder's rows, choose by a_f |W_dec,f|: the autoencoders of Llama Scope in the code of YaPO, arXiv 2601.08441.

  >>> weight = jnp.array([[1.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
  >>> print(top_k_codes(jnp.array([[1.0, -2.0]]), weight, jnp.ones(3), jnp.ones(1), k=1))
  [[0. 3. 0.]]
  """
  codes = zero_masked(jax.nn.relu(_affine("top_k_codes", x, weight, bias, mask)), mask[..., None])
  if k is None:
    return codes
  if not 1 <= k <= codes.shape[-1]:
    raise ValueError(f"top_k_codes: expected k from 1 to the {codes.shape[-1]} latents, got {k}")
  scores = jax.lax.stop_gradient(codes if decoder_norms is None else codes * widen(decoder_norms))
  least = _kth_largest(scores, k)
  larger, equal = scores > least, scores == least
  room = k - larger.sum(axis=-1, keepdims=True)
  return jnp.where(larger | (equal & (jnp.cumsum(equal, axis=-1) <= room)), codes, 0)


def _kth_largest(x, k):
  """The k-th largest number of the last axis, all of them at least 0: bit by bit, from the highest.

  A sort takes ten times as long on a CPU, and `top_k` would gather the tokens of all devices.
  """
  info = jnp.finfo(x.dtype)
  bits = jax.lax.bitcast_convert_type(x, f"int{info.bits}")  # ordered as the numbers are

  def step(i, least):
    raised = least | (jnp.ones_like(least) << (info.bits - 2 - i).astype(least.dtype))
    enough = (bits >= raised).sum(axis=-1, keepdims=True) >= k
    return jnp.where(enough, raised, least)

  least = jax.lax.fori_loop(0, info.bits - 1, step, jnp.zeros_like(bits[..., :1]))
  return jax.lax.bitcast_convert_type(least, x.dtype)


def jump_relu_codes(
  x: Float[Array, "*N D"],
  weight: Float[Array, "D F"],
  bias: Float[Array, " F"],
  threshold: Float[Array, " F"],
  mask: Num[Array, "*N"],
  *,
  form: str = "keep",
) -> Float[Array, "*N F"]:
  """a_f = z_f where z_f > threshold_f and z_f > 0, else 0, with z = x W + b: a JumpReLU autoencoder.

  YaPO, arXiv 2601.08441, with the autoencoders of Gemma Scope. `form` "subtract": a_f = z_f - threshold_f there, as
  the code has it for Llama Scope. The threshold has no gradient in form "keep".

  >>> args = jnp.array([[1.0, 0.25]]), jnp.array([[1.0, 0.0, 1.0], [0.0, 1.0, -1.0]]), jnp.zeros(3)
  >>> print(jump_relu_codes(*args, jnp.full(3, 0.5), jnp.ones(1)))
  [[1.   0.   0.75]]
  """
  known_option("jump_relu_codes", "form", form, ("keep", "subtract"))
  matching_axes("jump_relu_codes", weight=(weight, "D F"), threshold=(threshold, "F"))
  z, threshold = _affine("jump_relu_codes", x, weight, bias, mask), widen(threshold)
  active = (z > threshold) & (z > 0) & (mask[..., None] != 0)
  return jnp.where(active, z if form == "keep" else z - threshold, 0)


def decode(codes: Float[Array, "*N F"], weight: Float[Array, "F D"], bias: Float[Array, " D"]) -> Float[Array, "*N D"]:
  """x_hat = a W_dec + b_dec.

  SAE embeddings, arXiv 2512.10092; YaPO, arXiv 2601.08441. Autoencoders are trained on the mean square of x_hat - x.

  >>> print(decode(jnp.array([2.0, 0.0]), jnp.array([[1.0, 3.0], [9.0, 9.0]]), jnp.array([0.5, 0.0])))
  [2.5 6. ]
  """
  matching_axes("decode", codes=(codes.reshape(-1, codes.shape[-1]), "N F"), weight=(weight, "F D"), bias=(bias, "D"))
  return widen(codes) @ widen(weight) + widen(bias)


def pool_codes(codes: Float[Array, "B T F"], mask: Num[Array, "B T"], *, pool: str = "max") -> Float[Array, "B F"]:
  """One code of each document from those of its tokens: the embedding whose coordinates have names.

  SAE embeddings, arXiv 2512.10092. `pool`: "max", "sum", "mean" over all unmasked tokens, inactive ones too, or
  "count", the number of tokens with a_f > 0. A latent is present in a document if its maximum is above a threshold,
  0 in the paper: one active token is enough. Codes are at least 0; a document without tokens gives 0.

  >>> codes = jnp.array([[[1.0, 0.0], [3.0, 0.0], [jnp.nan, 9.0]]])
  >>> print(pool_codes(codes, jnp.array([[1, 1, 0]])), pool_codes(codes, jnp.array([[1, 1, 0]]), pool="mean"))
  [[3. 0.]] [[2. 0.]]
  """
  known_option("pool_codes", "pool", pool, POOLS)
  matching_axes("pool_codes", codes=(codes, "B T F"), mask=(mask, "B T"))
  weights = jnp.broadcast_to((mask != 0)[..., None], codes.shape)
  codes = zero_masked(codes, weights)
  if pool == "max":
    return codes.max(axis=1, initial=0)
  mean = masked_mean(codes > 0 if pool == "count" else codes, weights, axis=1)
  return mean.value if pool == "mean" else mean.sum
