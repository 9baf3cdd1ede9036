"""Divergences of two distributions from their logprobs, summed over the last axis: all of it, or a block of it."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jaxtyping import Array, Float


def kl(log_p: Float[Array, "*N V"], log_q: Float[Array, "*N V"]) -> Float[Array, "*N"]:
  """KL(p || q); entries with p = 0 add 0, whatever q."""
  possible = ~jnp.isneginf(log_p)
  log_p, log_q = jnp.where(possible, log_p, 0), jnp.where(possible, log_q, 0)
  return jnp.where(possible, jnp.exp(log_p) * (log_p - log_q), 0).sum(axis=-1)


def generalized_jsd(
  log_student: Float[Array, "*N V"], log_teacher: Float[Array, "*N V"], beta: float
) -> Float[Array, "*N"]:
  """beta KL(T || M) + (1 - beta) KL(S || M), M = beta T + (1 - beta) S; beta 0: KL(T || S), beta 1: KL(S || T)."""
  if beta == 0:
    return kl(log_teacher, log_student)
  if beta == 1:
    return kl(log_student, log_teacher)
  mixture = _mixture(log_teacher, log_student, beta)
  return beta * kl(log_teacher, mixture) + (1 - beta) * kl(log_student, mixture)


def _mixture(log_p, log_q, weight):
  """log(weight p + (1 - weight) q), -inf where both are 0: selected before, as the gradient there is NaN."""
  possible = ~(jnp.isneginf(log_p) & jnp.isneginf(log_q))
  log_p, log_q = jnp.where(possible, log_p, 0), jnp.where(possible, log_q, 0)
  return jnp.where(possible, jnp.logaddexp(log_p + math.log(weight), log_q + math.log(1 - weight)), -jnp.inf)
