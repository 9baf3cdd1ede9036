"""Advantages from trajectories of an older policy: importance ratios that are cut off, step by step."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import widen, zero_masked
from rl_jax.kernels.scans import linear_recurrence, values_after
from rl_jax.kernels.segments import last_token


class VTrace(NamedTuple):
  """Advantages, not whitened, and the critic's targets. Both 0 in masked slots."""

  advantages: Float[Array, "B T"]
  targets: Float[Array, "B T"]


def vtrace(
  rewards: Float[Array, "B T"],
  values: Float[Array, "B T"],
  ratios: Float[Array, "B T"],
  dones: Bool[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  discount: float = 0.99,
  max_ratio: float = 1.0,
  max_trace: float = 1.0,
  bootstrap: Float[Array, " B"] | None = None,
) -> VTrace:
  """v_t = V_t + rho_t (r_t + g_t V_{t+1} - V_t) + g_t c_t (v_{t+1} - V_{t+1}); A_t = rho_t (r_t + g_t v_{t+1} - V_t).

  V-trace, arXiv 1802.01561, as in the code of ONI, arXiv 2410.23022: rho = min(max_ratio, ratio), c = min(max_trace,
  ratio), g = discount (1 - done); ratios are of current to behaviour probabilities. t + 1 is the next unmasked slot;
  after the last one come `bootstrap` [B] or, where it is None, (V - r) / discount of the last slot, as in that code:
  its advantage is then 0 unless the episode is done there. On-policy it is the discounted sum of rewards. Whitened by
  `reductions.whiten(form="appo")`. No gradient.

  >>> one = jnp.ones((1, 2))
  >>> found = vtrace(one, 0 * one, one, jnp.array([[False, True]]), one, discount=0.5)
  >>> print(found.advantages, found.targets)
  [[1.5 1. ]] [[1.5 1. ]]
  """
  same_shape("vtrace", "B T", rewards=rewards, values=values, ratios=ratios, dones=dones, mask=mask)
  if bootstrap is None and discount <= 0:
    raise ValueError(f"vtrace: discount {discount} needs a bootstrap: without one it is (V - r) / discount")
  exists = mask != 0
  rewards, values, ratios = (zero_masked(x, mask) for x in (rewards, values, ratios))
  last = last_token(mask)
  if bootstrap is None:
    final = (jnp.where(last, values - rewards, 0) / discount).sum(axis=1)
  else:
    final = jnp.where(exists.any(axis=1), widen(bootstrap), 0)
  passes = jnp.where(exists, 0.0, 1.0).astype(values.dtype)
  following = lambda x: values_after(passes, x, final.astype(values.dtype))
  decay = discount * jnp.where(dones != 0, 0.0, 1.0)
  rho, trace = jnp.minimum(ratios, max_ratio), jnp.minimum(ratios, max_trace)
  errors = rho * (rewards + decay * following(values) - values)
  targets = values + linear_recurrence(decay * trace, errors, mask)
  advantages = rho * (rewards + decay * following(targets) - values)
  return jax.lax.stop_gradient(VTrace(zero_masked(advantages, mask), zero_masked(targets, mask)))
