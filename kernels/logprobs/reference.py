"""Logprobs of tokens from logits, by definition: the implementation that any faster one is tested against."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import widen, zero_masked


class TokenLogprobs(NamedTuple):
  """Logprobs aligned with tokens: entry t belongs to the distribution that token t was drawn from; entry 0 is 0."""

  logprobs: Float[Array, "B T"]
  entropies: Float[Array, "B T"]


def token_logprobs(
  logits: Float[Array, "B T V"],
  tokens: Int[Array, "B T"],
  *,
  temperature: float = 1.0,
  mask: Num[Array, "B T"] | None = None,
) -> TokenLogprobs:
  """log p(token_t | tokens before t) with p = softmax(logits_{t-1} / temperature), and the entropy of p.

  The one function for policy, old and reference logprobs: the shift by one and the temperature are here and nowhere
  else. Logits of -inf (tokens that cannot be sampled) add nothing to the entropy. `mask` marks the tokens that are
  wanted: elsewhere the result is 0 and garbage in the logits that score them reaches no gradient.

  >>> logits = jnp.log(jnp.array([[[0.5, 0.25, 0.25], [1.0, 1.0, 1.0]]]))
  >>> print(token_logprobs(logits, jnp.array([[0, 1]])).logprobs.round(3))
  [[ 0.    -1.386]]
  """
  if logits.ndim != 3 or logits.shape[:2] != tokens.shape:
    raise ValueError(f"token_logprobs: expected logits [B T V] and tokens [B T], got {logits.shape}, {tokens.shape}")
  scores, targets = logits[:, :-1], tokens[:, 1:]
  if mask is not None:
    same_shape("token_logprobs", "B T", tokens=tokens, mask=mask)
    scores, targets = zero_masked(scores, mask[:, 1:, None]), jnp.where(mask[:, 1:] != 0, targets, 0)
  outputs = categorical(scores, targets, temperature=temperature)
  return jax.tree.map(lambda x: align(x) if mask is None else zero_masked(align(x), mask), outputs)


def categorical(logits: Float[Array, "*N V"], tokens: Int[Array, "*N"], *, temperature: float = 1.0) -> TokenLogprobs:
  """log p(token) and the entropy of p = softmax(logits / temperature): `token_logprobs` without its shift.

  For a sampler, which holds the logits that a token is drawn from. Logits of -inf add nothing to the entropy.

  >>> print(categorical(jnp.array([0.0, 0.0]), jnp.array(1)).entropies.round(3))
  0.693
  """
  scores = widen(logits) / temperature
  normalizer = jax.nn.logsumexp(scores, axis=-1)
  chosen = jnp.take_along_axis(scores, tokens[..., None], axis=-1)[..., 0]
  # p log p is 0 where p is 0: without the select it would be 0 * -inf.
  finite = jnp.where(jnp.isneginf(scores), 0, scores)
  expected = (jnp.exp(scores - normalizer[..., None]) * finite).sum(axis=-1)
  return TokenLogprobs(chosen - normalizer, normalizer - expected)


def linear_scores(
  hidden: Float[Array, "*N D"], matrix: Float[Array, "..."], *, layout: str, soft_cap: float | None = None
) -> Float[Array, "*N V"]:
  """cap(hidden @ matrix) with cap(x) = soft_cap tanh(x / soft_cap), in float32 or wider: the logits in one piece.

  `layout` "DV": the matrix is [D, V]; "VD": [V, D].

  >>> print(linear_scores(jnp.array([[2.0, 1.0]]), jnp.eye(2), layout="VD"))
  [[2. 1.]]
  """
  wide = jnp.promote_types(jnp.promote_types(hidden.dtype, matrix.dtype), jnp.float32)
  axes = "dv" if layout == "DV" else "vd"
  scores = jnp.einsum(f"...d,{axes}->...v", hidden, matrix, preferred_element_type=wide)
  return scores if soft_cap is None else soft_cap * jnp.tanh(scores / soft_cap)


def align(x: Num[Array, "B t"]) -> Num[Array, "B T"]:
  """Move the entry read at token t - 1 to entry t, T = t + 1; entry 0 is 0.

  >>> print(align(jnp.array([[1.0, 2.0]])))
  [[0. 1. 2.]]
  """
  return jnp.pad(x, ((0, 0), (1, 0)))
