"""Test-time search over steps: selection of partial responses to continue."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels.reductions import zero_masked
from rl_jax.kernels.rewards.process import effective_rewards


class Beam(NamedTuple):
  """The kept candidates of each beam, best first. Where fewer exist than fit, `kept` is False and the index 0."""

  indices: Int[Array, "B W"]
  kept: Bool[Array, "B W"]
  scores: Float[Array, "B C"]
  """Scores of all candidates; 0 in masked slots."""


def beam_select(
  values: Float[Array, "B C"],
  advantages: Float[Array, "B C"],
  mask: Num[Array, "B C"],
  *,
  width: int,
  alpha: float = 0.5,
) -> Beam:
  """The `width` candidates of largest Q^pi + alpha A^mu; equal scores keep their order.

  PAV, arXiv 2410.08146. Row b holds all children of all states in beam b. alpha is 0.5 for the paper's 2B
  and 9B models, 0.2 for 27B; alpha 0 is a search on Q^pi, and with width 1 picks the final answer.

  >>> beam = beam_select(jnp.array([[0.5, 0.4, 0.1]]), jnp.array([[0.0, 0.4, 0.0]]), jnp.ones((1, 3)), width=2)
  >>> print(beam.indices)
  [[1 0]]
  """
  if width > mask.shape[1]:
    raise ValueError(f"beam_select: width {width} is more than the {mask.shape[1]} candidates")
  scores = effective_rewards(values, advantages, mask, alpha=alpha)
  _, indices = jax.lax.top_k(jnp.where(mask != 0, scores, -jnp.inf), width)
  exists = jnp.take_along_axis(mask != 0, indices, axis=1)
  return Beam(jnp.where(exists, indices, 0), exists, zero_masked(scores, mask))
