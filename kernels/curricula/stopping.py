"""Number of responses to a prompt: V0.5 keeps sampling while one more is expected to pay for itself."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.advantages.prior import Fusion, fuse_prior
from rl_jax.kernels.reductions import widen, zero_masked


class Stopping(NamedTuple):
  """Decisions of the rule after each response, in order of sampling."""

  used: Bool[Array, "B S"]
  """Responses that the rule asked for."""
  more: Bool[Array, " B"]
  """True if the rule asks for one beyond those sampled so far; False for a prompt without any (padding)."""
  gains: Float[Array, "B S"]
  """Expected fall of the baseline's error through one more response; 0 where not used."""
  fusions: Fusion
  """Prior and responses fused after each of them [B, S]; 0 where not used."""


class SampleAllocation(NamedTuple):
  """Prompts of the next R responses, in order of expected gain."""

  prompts: Int[Array, " R"]
  mask: Bool[Array, " R"]
  """True on responses that the rule asks for; no prompt asks for the others."""


def expected_gain(
  squared_bias: Float[Array, "..."], samples: Num[Array, "..."], *, noise_variance: float = 1.0
) -> Float[Array, "..."]:
  """MSE(k) - MSE(k + 1), MSE(k) = D^2 s_k / (D^2 + s_k) and s_k = noise_variance / k, with D^2 held fixed.

  One step look-ahead of V0.5, arXiv 2603.10848, in closed form v D^4 / ((k D^2 + v) ((k + 1) D^2 + v)). 0 where D^2 is.

  >>> print(expected_gain(jnp.array([0.75, 0.0]), jnp.array([4, 4])).round(4))
  [0.0296 0.    ]
  """
  squared_bias, samples = widen(squared_bias), widen(samples)
  error = lambda k: jnp.where(squared_bias > 0, k * squared_bias + noise_variance, 1)
  return jax.lax.stop_gradient(noise_variance * jnp.square(squared_bias) / (error(samples) * error(samples + 1)))


def look_ahead_stopping(
  rewards: Float[Array, "B S"],
  priors: Float[Array, " B"],
  mask: Num[Array, "B S"],
  *,
  k_init: int = 4,
  k_max: int = 16,
  cost: float = 0.0039,
  noise_variance: float = 1.0,
) -> Stopping:
  """Look-ahead stopping: after k responses, one more iff k < k_init, or k < k_max and expected_gain(k) > cost.

  V0.5 (OSLA), arXiv 2603.10848, which minimises MSE(k) + cost k; the exact inequality is not in the paper. `rewards`
  are a prompt's responses in order of sampling, `mask` those that exist: with all slots sampled beforehand, `used`
  replays the rule; in waves, `more` says which prompts go on. `cost` is in squared rewards: for rewards of 0 and 1
  divide it by 4, and noise_variance too, for the same decisions.

  >>> stopping = look_ahead_stopping(jnp.ones((2, 6)), jnp.array([0.8, 0.0]), jnp.ones((2, 6)))
  >>> print(stopping.used.sum(axis=1), stopping.more)
  [4 6] [False  True]
  """
  same_shape("look_ahead_stopping", "B S", rewards=rewards, mask=mask)
  sampled = mask != 0
  exists = sampled.any(axis=1)
  same_shape("look_ahead_stopping", "B", rows=exists, priors=priors)
  if not 1 <= k_init <= k_max:
    raise ValueError(f"look_ahead_stopping: expected 1 <= k_init <= k_max, got {k_init} and {k_max}")
  totals, count = jnp.cumsum(zero_masked(rewards, sampled), axis=1), jnp.cumsum(sampled, axis=1, dtype=jnp.int32)
  prior = zero_masked(priors, exists)[:, None]
  fusions = fuse_prior(totals / jnp.maximum(count, 1), count, prior, noise_variance=noise_variance)
  gains = expected_gain(fusions.squared_bias, fusions.samples, noise_variance=noise_variance)
  goes_on = ~sampled | (count < k_init) | ((count < k_max) & (gains > cost))
  # Once the rule stops, nothing after it counts, whatever it would say there.
  reached = jnp.cumprod(goes_on, axis=1, dtype=jnp.int32) != 0
  before = jnp.concatenate([jnp.ones_like(reached[:, :1]), reached[:, :-1]], axis=1)
  used = sampled & before
  return jax.lax.stop_gradient(
    Stopping(
      used,
      reached[:, -1] & exists,
      zero_masked(gains, used),
      Fusion(*(zero_masked(x, used) for x in fusions)),
    )
  )


def look_ahead_allocation(
  squared_bias: Float[Array, " B"],
  samples: Num[Array, " B"],
  sampled: Num[Array, " B"],
  *,
  responses: int,
  k_max: int = 16,
  cost: float = 0.0039,
  noise_variance: float = 1.0,
) -> SampleAllocation:
  """The `responses` of largest expected gain among all that look-ahead stopping asks for while D^2 is held fixed.

  V0.5 (OSLA), arXiv 2603.10848: a round of a fixed number of responses, which is not in the paper. A prompt asks for
  its (k + j)-th response iff expected_gain(k + j - 1) > cost and no more than k_max are sampled. Gains fall with k, so
  the largest come to a prompt in order; of equal gains the first prompt's comes first.

  Args:
    squared_bias: D^2 of each prompt, see `fuse_prior`. A prompt without samples (padding) has 0 and asks for nothing.
    samples: scored responses k.
    sampled: all responses, unscored ones too; k_max bounds these.

  Raises: ValueError: more responses than k_max for each prompt.

  >>> allocation = look_ahead_allocation(jnp.array([0.1, 2.0]), jnp.array([4, 4]), jnp.array([4, 4]), responses=3)
  >>> print(allocation.prompts, allocation.mask)
  [1 1 1] [ True  True  True]
  """
  same_shape("look_ahead_allocation", "B", squared_bias=squared_bias, samples=samples, sampled=sampled)
  further = jnp.arange(min(responses, k_max))
  if responses > squared_bias.shape[0] * further.size:
    most = f"{squared_bias.shape[0]} prompts of {k_max} responses (k_max) each"
    raise ValueError(f"look_ahead_allocation: {responses} responses are more than those of {most}")
  gains = expected_gain(squared_bias[:, None], widen(samples)[:, None] + further, noise_variance=noise_variance)
  asked = (gains > cost) & (sampled[:, None] + further < k_max)
  _, index = jax.lax.top_k(jnp.where(asked, gains, -1).ravel(), responses)
  return SampleAllocation(index // further.size, asked.ravel()[index])
