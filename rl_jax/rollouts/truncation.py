"""Truncated sampling: limits on the tokens that may be drawn."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True)
class Truncation:
  """Limits on the drawn tokens. They change the distribution: see `Completions.behaviour_logprobs`.

  Attributes:
    top_k: keep the k most likely tokens; 0: all.
    top_p: keep the most likely tokens that together reach this probability (arXiv 1904.09751); 1: all.
    min_p: keep tokens with at least this share of the largest probability (arXiv 2407.01082); 0: all.
  """

  top_k: int = 0
  top_p: float = 1.0
  min_p: float = 0.0

  def __post_init__(self):
    if self.top_k < 0 or not 0.0 < self.top_p <= 1.0 or not 0.0 <= self.min_p <= 1.0:
      raise ValueError(
        f"sampling needs top_k >= 0, 0 < top_p <= 1 and 0 <= min_p <= 1, "
        f"got top_k={self.top_k}, top_p={self.top_p}, min_p={self.min_p}"
      )

  @property
  def active(self) -> bool:
    """True if any token can be excluded."""
    return self.top_k > 0 or self.top_p < 1.0 or self.min_p > 0.0


def truncate(logits: Float[Array, "B V"], temperature: float, truncation: Truncation) -> Float[Array, "B V"]:
  """Logits with -inf on excluded tokens. The most likely token is always kept, and ties at the border together."""
  if not truncation.active:
    return logits
  probabilities = jax.nn.softmax(logits / temperature, axis=-1)
  floor = truncation.min_p * probabilities.max(axis=-1, keepdims=True)
  descending = -jnp.sort(-probabilities, axis=-1)
  if 0 < truncation.top_k < logits.shape[-1]:
    floor = jnp.maximum(floor, descending[:, truncation.top_k - 1 : truncation.top_k])
  if truncation.top_p < 1.0:
    before = jnp.cumsum(descending, axis=-1) - descending
    last = jnp.sum(before < truncation.top_p, axis=-1, keepdims=True) - 1
    floor = jnp.maximum(floor, jnp.take_along_axis(descending, last, axis=-1))
  return jnp.where(probabilities >= floor, logits, -jnp.inf)
