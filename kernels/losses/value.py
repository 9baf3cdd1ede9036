"""The critic's loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import zero_masked


def value_loss(
  values: Float[Array, "B T"],
  old_values: Float[Array, "B T"],
  returns: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  clip: float | None = 0.5,
) -> Float[Array, "B T"]:
  """l_t = max((V - R)^2, (clip(V, V_old - clip, V_old + clip) - R)^2) / 2, to be aggregated.

  PPO as in verl (arXiv 1707.06347 leaves the value clip out: `clip` None gives the plain half square). Gradient only
  through `values`; 0 in masked slots.

  >>> print(value_loss(jnp.array([[2.0]]), jnp.array([[0.0]]), jnp.array([[1.5]]), jnp.ones((1, 1))))
  [[0.5]]
  """
  same_shape("value_loss", "B T", values=values, old_values=old_values, returns=returns, mask=mask)
  values = zero_masked(values, mask)
  old_values, returns = jax.lax.stop_gradient((zero_masked(old_values, mask), zero_masked(returns, mask)))
  squares = jnp.square(values - returns)
  if clip is not None:
    near = jnp.clip(values, old_values - clip, old_values + clip)
    squares = jnp.maximum(squares, jnp.square(near - returns))
  return squares / 2
