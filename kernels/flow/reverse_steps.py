"""Reverse steps of a flow as Gaussian actions, for the policy gradients of DDPO and Flow-GRPO.

The baseline of arXiv 2509.25050, as in the code of Flow-GRPO: `losses.policy_gradient` of `step_logprobs`, with a
column for each step and clip 1e-4, plus 0.04 times `step_kl`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import widen, zero_masked


class ReverseStep(NamedTuple):
  """The Gaussian of the next point."""

  means: Float[Array, "B D"]
  std: Float[Array, ""]
  """Standard deviation of the step: diffusion sqrt(-dt)."""
  diffusion: Float[Array, ""]
  """Noise per square root of time."""


def reverse_step(
  x: Float[Array, "B D"],
  velocities: Float[Array, "B D"],
  sigma: Float[Array, ""],
  next_sigma: Float[Array, ""],
  *,
  noise_level: float = 0.7,
  largest_sigma: float = 1.0,
) -> ReverseStep:
  """mean = x (1 + c dt) + v (1 + c (1 - sigma)) dt, c = d^2 / (2 sigma), d = noise_level sqrt(sigma / (1 - sigma)).

  arXiv 2509.25050, dt = next_sigma - sigma < 0; the next point is mean + d sqrt(-dt) times noise. At sigma = 1 the
  denominator in the root is 1 - largest_sigma, where largest_sigma is the scheduler's next sigma and must be given.
  Noise level 0 is the Euler step x + v dt.

  >>> step = reverse_step(jnp.ones((1, 1)), jnp.ones((1, 1)), jnp.array(0.5), jnp.array(0.25), noise_level=1.0)
  >>> print(step.means, step.std)
  [[0.375]] 0.5
  """
  same_shape("reverse_step", "B D", x=x, velocities=velocities)
  sigma, next_sigma = (widen(jnp.asarray(s)) for s in (sigma, next_sigma))
  denominator = 1 - jnp.where(sigma == 1, largest_sigma, sigma)
  diffusion = jnp.where(noise_level == 0, 0, noise_level * jnp.sqrt(sigma / denominator))
  dt, drift = next_sigma - sigma, jnp.square(diffusion) / (2 * sigma)
  means = widen(x) * (1 + drift * dt) + widen(velocities) * (1 + drift * (1 - sigma)) * dt
  return ReverseStep(means, diffusion * jnp.sqrt(-dt), diffusion)


def step_logprobs(
  next_x: Float[Array, "B D"], means: Float[Array, "B D"], std: Float[Array, ""], mask: Num[Array, " B"]
) -> Float[Array, " B"]:
  """mean_D log N(x' | mean, std^2): the mean over dimensions, not the sum, which tempers ratios by 1 / D.

  arXiv 2509.25050, code.

  >>> print(f"{step_logprobs(jnp.zeros((1, 2)), jnp.zeros((1, 2)), jnp.array(1.0), jnp.ones(1))[0]:.3f}")
  -0.919
  """
  same_shape("step_logprobs", "B D", next_x=next_x, means=means)
  std, rows = widen(jnp.asarray(std)), mask[:, None]
  apart = jax.lax.stop_gradient(zero_masked(next_x, rows)) - zero_masked(means, rows)
  logprobs = -jnp.square(apart / std) / 2 - jnp.log(std) - math.log(2 * math.pi) / 2
  return zero_masked(logprobs.mean(axis=1), mask)


def step_kl(
  means: Float[Array, "B D"], ref_means: Float[Array, "B D"], std: Float[Array, ""], mask: Num[Array, " B"]
) -> Float[Array, " B"]:
  """mean_D (mean - mean_ref)^2 / (2 std^2), per row; no gradient into the reference.

  arXiv 2509.25050. With `ReverseStep.std` this is the divergence of the two steps; Flow-GRPO's first release instead
  uses `ReverseStep.diffusion`, without dt.

  >>> print(step_kl(jnp.ones((1, 2)), jnp.zeros((1, 2)), jnp.array(0.5), jnp.ones(1)))
  [2.]
  """
  same_shape("step_kl", "B D", means=means, ref_means=ref_means)
  apart = zero_masked(means, mask[:, None]) - jax.lax.stop_gradient(zero_masked(ref_means, mask[:, None]))
  return jnp.square(apart / widen(jnp.asarray(std))).mean(axis=1) / 2
