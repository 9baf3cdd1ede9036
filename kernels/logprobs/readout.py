"""Scores from hidden states, and the online logsumexp and entropy of those scores over blocks of the vocabulary.

N rows (tokens), D width, V vocabulary, C the columns of a block. Shared by every implementation, so that a soft cap, a
temperature or a gradient is written once.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

LAYOUTS = ("DV", "VD")
LOWEST = -1e30
"""Substitute for a missing logit: finite, so that 0 * LOWEST is 0 and no select is needed."""


class Readout(NamedTuple):
  """scores = cap(hidden @ matrix) / temperature, cap(x) = soft_cap tanh(x / soft_cap); static, hashable.

  `layout` "DV": the matrix is [D, V]; "VD": [V, D]. `precision` as in `jax.lax.dot_general`; None: JAX's default.
  """

  layout: str = "DV"
  temperature: float = 1.0
  soft_cap: float | None = None
  precision: jax.lax.Precision | None = None

  @property
  def vocabulary_axis(self) -> int:
    """Axis of the matrix that runs over the vocabulary."""
    return self.layout.index("V")

  def products(self, hidden: Float[Array, "N D"], block: Float[Array, "..."]) -> Float[Array, "N C"]:
    """hidden @ block, accumulated in float32 or wider."""
    return self._dot(hidden, block, 1, 1 - self.vocabulary_axis)

  def scores(self, products: Float[Array, "N C"]) -> Float[Array, "N C"]:
    """The soft cap, then the temperature."""
    if self.soft_cap is not None:
      products = self.soft_cap * jnp.tanh(products / self.soft_cap)
    return products if self.temperature == 1 else products / self.temperature

  def pull_back(self, d_scores: Float[Array, "N C"], products: Float[Array, "N C"]) -> Float[Array, "N C"]:
    """The gradient by the products from that by the scores."""
    if self.soft_cap is not None:
      d_scores = d_scores * (1 - jnp.square(jnp.tanh(products / self.soft_cap)))
    return d_scores if self.temperature == 1 else d_scores / self.temperature

  def d_hidden(self, d_products: Float[Array, "N C"], block: Float[Array, "..."]) -> Float[Array, "N D"]:
    """The part of the gradient by the hidden states that a block of the matrix gives."""
    return self._dot(d_products.astype(block.dtype), block, 1, self.vocabulary_axis)

  def d_block(self, d_products: Float[Array, "N C"], hidden: Float[Array, "N D"]) -> Float[Array, "..."]:
    """The part of the gradient by a block of the matrix that these rows give."""
    d_products = d_products.astype(hidden.dtype)
    if self.layout == "DV":
      return self._dot(hidden, d_products, 0, 0)
    return self._dot(d_products, hidden, 0, 0)

  def _dot(self, a, b, a_axis, b_axis):
    wide = jnp.promote_types(jnp.promote_types(a.dtype, b.dtype), jnp.float32)
    dimensions = (((a_axis,), (b_axis,)), ((), ()))
    return jax.lax.dot_general(a, b, dimensions, precision=self.precision, preferred_element_type=wide)


class RowStatistics(NamedTuple):
  """Statistics of a row's scores z for logprob and entropy, each [N, 1]; merged over blocks, shards and splits.

  maximum = max z, total = sum e^(z - maximum), moment = sum e^(z - maximum) (z - maximum), chosen = z of the target,
  `LOWEST` while no block had it.
  """

  maximum: Float[Array, "N 1"]
  total: Float[Array, "N 1"]
  moment: Float[Array, "N 1"]
  chosen: Float[Array, "N 1"]

  @classmethod
  def start(cls, rows: int, dtype: jnp.dtype) -> RowStatistics:
    """Statistics of no scores."""
    lowest, zero = jnp.full((rows, 1), LOWEST, dtype), jnp.zeros((rows, 1), dtype)
    return cls(lowest, zero, zero, lowest)

  def updated(self, scores: Float[Array, "N C"], is_target: Bool[Array, "N C"]) -> RowStatistics:
    """Statistics with the scores of another block added."""
    maximum = jnp.maximum(self.maximum, scores.max(axis=1, keepdims=True))
    shifted = scores - maximum
    weights = jnp.exp(shifted)
    old = self.scaled(maximum)
    return RowStatistics(
      maximum,
      old.total + weights.sum(axis=1, keepdims=True),
      old.moment + (weights * shifted).sum(axis=1, keepdims=True),
      jnp.maximum(self.chosen, jnp.where(is_target, scores, LOWEST).max(axis=1, keepdims=True)),
    )

  def scaled(self, maximum: Float[Array, "N 1"]) -> RowStatistics:
    """Statistics relative to a larger maximum, as required before those of several parts are added."""
    shift = self.maximum - maximum
    scale = jnp.exp(shift)
    moment = (self.moment + self.total * shift) * scale
    return RowStatistics(maximum, self.total * scale, moment, self.chosen)

  def finish(self) -> tuple[Float[Array, " N"], Float[Array, " N"], Float[Array, " N"]]:
    """Logprob of the target, entropy and logsumexp: log p = chosen - logsumexp, H = log total - moment / total."""
    spread = jnp.log(self.total)
    columns = (self.chosen - self.maximum - spread, spread - self.moment / self.total, self.maximum + spread)
    logprobs, entropies, normalizers = (x[:, 0] for x in columns)
    return logprobs, entropies, normalizers


class RowGradients(NamedTuple):
  """Inputs of the backward pass for each row, each [N, 1]: logsumexp, entropy and the gradients by both outputs."""

  normalizers: Float[Array, "N 1"]
  entropies: Float[Array, "N 1"]
  d_logprobs: Float[Array, "N 1"]
  d_entropies: Float[Array, "N 1"]

  def d_scores(self, scores: Float[Array, "N C"], is_target: Bool[Array, "N C"]) -> Float[Array, "N C"]:
    """d log p(target) / dz_v = 1[v = target] - p_v; dH / dz_v = -p_v (log p_v + H)."""
    logprobs = scores - self.normalizers
    weights = self.d_logprobs + self.d_entropies * (logprobs + self.entropies)
    return jnp.where(is_target, self.d_logprobs, 0) - jnp.exp(logprobs) * weights
