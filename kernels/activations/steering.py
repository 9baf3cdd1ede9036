"""Steering: one learned vector, added to the hidden states after a block of a frozen model.

YaPO, arXiv 2601.08441, adds it to the codes of a sparse autoencoder, BiPO, arXiv 2406.00045, to the hidden states
themselves. Both train it on preference pairs, in both directions, with `losses.dpo` at beta = d * beta: d is 1 or -1,
drawn for each batch, and the multiplier here; the reference is the same model with multiplier 0, without gradient.
After training the multiplier is the strength: 1, or 0.5 to 2.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rl_jax.kernels._checks import matching_axes, same_shape
from rl_jax.kernels.reductions import widen


def steer_dense(
  hidden: Float[Array, "*N D"], vector: Float[Array, " D"], *, multiplier: float | Float[Array, ""] = 1.0
) -> Float[Array, "*N D"]:
  """h' = h + multiplier v, at every position.

  BiPO, arXiv 2406.00045; the dense baseline of YaPO, arXiv 2601.08441.

  >>> print(steer_dense(jnp.array([[1.0, 2.0]]), jnp.array([0.5, 0.0]), multiplier=-1.0))
  [[0.5 2. ]]
  """
  matching_axes("steer_dense", hidden=(hidden.reshape(-1, hidden.shape[-1]), "N D"), vector=(vector, "D"))
  return widen(hidden) + multiplier * widen(vector)


def steer_sparse(
  hidden: Float[Array, "*N D"],
  codes: Float[Array, "*N F"],
  vector: Float[Array, " F"],
  decoder: Float[Array, "F D"],
  *,
  multiplier: float | Float[Array, ""] = 1.0,
) -> Float[Array, "*N D"]:
  """h' = h + (relu(a + multiplier v) - a) W_dec: the steered codes decoded, and the error of reconstruction added back.

  YaPO, arXiv 2601.08441, after its code. `codes` a are those of h (`jump_relu_codes`), without
  gradient; the decoder's bias cancels. The encoder's threshold is not applied again. With multiplier 0 or v = 0, h'
  is h exactly. The gradient of relu is 0 at 0, so at v = 0 only latents that are active somewhere move, and a negative
  entry for a latent that never is active has no effect and no gradient: that is all that makes v sparse.

  >>> hidden, codes, decoder = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 0.0]]), jnp.array([[1.0, 0.0], [0.0, 1.0]])
  >>> print(steer_sparse(hidden, codes, jnp.array([-3.0, 0.5]), decoder))
  [[0.  2.5]]
  """
  flat_hidden, flat_codes = (x.reshape(-1, x.shape[-1]) for x in (hidden, codes))
  arrays = dict(hidden=(flat_hidden, "N D"), codes=(flat_codes, "N F"), vector=(vector, "F"), decoder=(decoder, "F D"))
  matching_axes("steer_sparse", **arrays)
  codes = jax.lax.stop_gradient(widen(codes))
  return widen(hidden) + (jax.nn.relu(codes + multiplier * widen(vector)) - codes) @ widen(decoder)


class Localization(NamedTuple):
  """Quality on prompts that name a culture together with prompts that only imply it."""

  accuracy: Float[Array, "*N"]
  """Harmonic mean of both accuracies (RCA)."""
  gap: Float[Array, "*N"]
  """Localised minus non-localised accuracy, over their mean (PNLG): 0 where both are alike, at most 2."""


def localization(localized: Float[Array, "*N"], non_localized: Float[Array, "*N"]) -> Localization:
  """2 a b / (a + b) and (a - b) / ((a + b) / 2) of two accuracies; 0 where both are 0.

  YaPO, arXiv 2601.08441, names these metrics and what they are like; the formulas are our reading. No gradient.

  >>> print(*localization(jnp.array([0.75]), jnp.array([0.25])))
  [0.375] [1.]
  """
  same_shape("localization", "N", localized=localized.ravel(), non_localized=non_localized.ravel())
  a, b = widen(localized), widen(non_localized)
  total = jnp.where(a + b > 0, a + b, 1)
  return jax.lax.stop_gradient(Localization(2 * a * b / total, 2 * (a - b) / total))
