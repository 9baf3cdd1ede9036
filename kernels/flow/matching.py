"""Advantage weighted matching: the pre-training loss on the policy's own samples, weighted by their advantages.

arXiv 2509.25050. Rows [B] are final samples x_0, with K training times and fresh noise each: velocities are [B K D].
The advantages are `advantages.grpo(..., scale="batch", ddof=0, eps=1e-4, singleton="zero")` (scale "group" for the
standard deviation of the prompt's own group), bounded by `bounded_advantages`; with one sample per prompt, pass
group_ids None.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.losses.policy import policy_gradient
from rl_jax.kernels.reductions import Mean, masked_mean, widen, zero_masked

WEIGHTINGS = ("uniform", "t", "t**2", "huber", "ghuber")


class FlowPath(NamedTuple):
  """Points on the straight paths from samples to noise, and the velocity there."""

  points: Float[Array, "B K D"]
  velocities: Float[Array, "B K D"]


class MatchingLoss(NamedTuple):
  """The parts of the loss: add them over micro-batches before `value`."""

  policy: Mean
  kl: Mean
  """Distance to the model that training started from."""
  ema_kl: Mean
  """Distance to the lagged copy: a trust region."""

  def value(self, *, beta: float = 1e-3, ema_beta: float = 1.0) -> Float[Array, ""]:
    """policy + beta kl + ema_beta ema_kl."""
    return self.policy.value + beta * self.kl.value + ema_beta * self.ema_kl.value


def flow_path(x0: Float[Array, "B D"], noise: Float[Array, "B K D"], times: Float[Array, " K"]) -> FlowPath:
  """x_t = (1 - t) x_0 + t eps and u = eps - x_0, for K times that all samples share.

  arXiv 2509.25050. No gradient into the samples.

  >>> path = flow_path(jnp.array([[2.0]]), jnp.array([[[4.0]]]), jnp.array([0.25]))
  >>> print(path.points, path.velocities)
  [[[2.5]]] [[[2.]]]
  """
  if noise.ndim != 3 or x0.shape != (noise.shape[0], noise.shape[2]) or times.shape != noise.shape[1:2]:
    raise ValueError(
      f"flow_path: expected x0 [B D], noise [B K D] and times [K], got {x0.shape}, {noise.shape} and {times.shape}"
    )
  x0, noise, times = jax.lax.stop_gradient((widen(x0)[:, None], widen(noise), widen(times)[:, None]))
  return FlowPath((1 - times) * x0 + times * noise, noise - x0)


def bounded_advantages(
  advantages: Float[Array, " B"], *, bound: float = 5.0, largest: float = 1.0
) -> Float[Array, " B"]:
  """clip(A, -bound, bound) largest / bound: a sample one standard deviation better than its group has weight 0.2.

  arXiv 2509.25050, its configs, where largest is 1. Flow-GRPO only clips: largest = bound. No gradient.

  >>> print(bounded_advantages(jnp.array([2.5, -10.0])))
  [ 0.5 -1. ]
  """
  return jax.lax.stop_gradient(jnp.clip(widen(advantages), -bound, bound) * (largest / bound))


def matching_logprobs(
  velocities: Float[Array, "B K D"],
  x0: Float[Array, "B D"],
  noise: Float[Array, "B K D"],
  times: Float[Array, " K"],
  mask: Num[Array, " B"],
  *,
  weighting: str = "ghuber",
  power: float = 0.25,
) -> Float[Array, "B K"]:
  """-w(l, t), l = mean_D (v - u)^2: stand-in for the logprob of a sample, 0 if the velocity v equals the target u.

  arXiv 2509.25050. `weighting`: "uniform", l (the paper's experiments); "t", t l; "t**2", t^2 l; "huber",
  t (sqrt(l + 1e-10) - 1e-5); "ghuber", t / p ((l + 1e-10)^p - 1e-10^p), p the `power` (the configs): p = 1 is t l, p =
  1/2 twice huber, and the gradient grows without bound as l falls to 0.

  >>> v, x0, noise = jnp.array([[[0.5, -1.0]]]), jnp.array([[0.25, 0.5]]), jnp.array([[[1.0, -0.5]]])
  >>> print(matching_logprobs(v, x0, noise, jnp.array([0.5]), jnp.ones(1), weighting="t"))
  [[-0.015625]]
  """
  known_option("matching_logprobs", "weighting", weighting, WEIGHTINGS)
  same_shape("matching_logprobs", "B K D", velocities=velocities, noise=noise)
  rows = mask[:, None]
  target = flow_path(zero_masked(x0, rows), zero_masked(noise, rows[..., None]), times).velocities
  errors = jnp.square(zero_masked(velocities, rows[..., None]) - target).mean(axis=-1)
  t, tiny = widen(times), 1e-10
  losses = {
    "uniform": lambda: errors,
    "t": lambda: t * errors,
    "t**2": lambda: jnp.square(t) * errors,
    "huber": lambda: t * (jnp.sqrt(errors + tiny) - tiny**0.5),
    "ghuber": lambda: t / power * ((errors + tiny) ** power - tiny**power),
  }
  return zero_masked(-losses[weighting](), rows)


def velocity_kl(
  velocities: Float[Array, "B K D"],
  ref_velocities: Float[Array, "B K D"],
  times: Float[Array, " K"],
  mask: Num[Array, " B"],
  *,
  weighting: str = "uniform",
) -> Mean:
  """Mean over rows and times of mean_D (v - v_ref)^2, divided by 2 s^2 for `weighting` "elbo".

  arXiv 2509.25050, code: s = 0.7 sqrt(t / (1 - min(t, 0.99))). No gradient into the reference. No row: 0.

  >>> print(velocity_kl(jnp.ones((1, 1, 2)), jnp.zeros((1, 1, 2)), jnp.array([0.5]), jnp.ones(1)).value)
  1.0
  """
  known_option("velocity_kl", "weighting", weighting, ("uniform", "elbo"))
  same_shape("velocity_kl", "B K D", velocities=velocities, ref_velocities=ref_velocities)
  rows = mask[:, None, None]
  apart = zero_masked(velocities, rows) - jax.lax.stop_gradient(zero_masked(ref_velocities, rows))
  squares = jnp.square(apart).mean(axis=-1)
  if weighting == "elbo":
    t = widen(times)
    squares /= 2 * jnp.square(0.7) * t / (1 - jnp.minimum(t, 0.99))
  return masked_mean(squares, jnp.broadcast_to(mask[:, None] != 0, squares.shape))


def awm(
  logprobs: Float[Array, "B K"],
  old_logprobs: Float[Array, "B K"],
  advantages: Float[Array, " B"],
  mask: Num[Array, " B"],
  *,
  order: str = "exp_first",
  clip: float = 1.0,
) -> Mean:
  """Mean of max(-A r, -A clip(r, 1 - c, 1 + c)), r = exp(logp - sg old), of `matching_logprobs` with the same noise.

  arXiv 2509.25050. `order` "exp_first": a ratio for each row and time; "sum_first": one ratio for each row, of mean
  logprobs over times. If old logprobs equal the new ones, the gradient in both is that of sum A w(l, t), the advantage
  weighted matching loss. The configs' c = 1 clips only ratios below 0 or above 2, so the lower bound never binds.
  `MatchingLoss` adds the two `velocity_kl`.

  >>> print(awm(jnp.zeros((2, 3)), jnp.zeros((2, 3)), jnp.array([1.0, -0.5]), jnp.ones(2)).value)
  -0.25
  """
  known_option("awm", "order", order, ("exp_first", "sum_first"))
  same_shape("awm", "B K", logprobs=logprobs, old_logprobs=old_logprobs)
  same_shape("awm", "B", advantages=advantages, mask=mask)
  rows = mask[:, None]
  logprobs, old_logprobs = zero_masked(logprobs, rows), zero_masked(old_logprobs, rows)
  if order == "sum_first":
    logprobs, old_logprobs = (x.mean(axis=1, keepdims=True) for x in (logprobs, old_logprobs))
  over = lambda x: jnp.broadcast_to(x[:, None], logprobs.shape)
  exists = over(mask != 0)
  losses = policy_gradient(logprobs, old_logprobs, over(advantages), exists, clip_low=clip, clip_high=clip).losses
  return masked_mean(losses, exists)


def ema_decay(step: Num[Array, "*N"], *, rate: float = 1e-3, largest: float = 0.3) -> Float[Array, "*N"]:
  """d = min(largest, rate step) of the lagged copy theta' = d theta' + (1 - d) theta: a plain copy at first.

  arXiv 2509.25050, once per epoch.

  >>> print(ema_decay(jnp.array([0, 250, 1000])))
  [0.   0.25 0.3 ]
  """
  return jnp.minimum(largest, rate * widen(step))
