"""A softmax gate over experts with a learned temperature, and the Gaussian mixture of experts that it weights.

Rows with mask 0 give 0. arXiv 2401.13875 proves that a temperature next to free gate weights is learned slower than at
any polynomial rate, as each can undo the other, and that a non-linearity before the softmax separates them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.layers._activations import activation_of
from rl_jax.kernels.reductions import widen, zero_masked


class Gate(NamedTuple):
  """Weights of the experts, which sum to 1, and their logarithms."""

  weights: Float[Array, "B E"]
  log_weights: Float[Array, "B E"]


class GaussianMixture(NamedTuple):
  """Negative log likelihoods, to be averaged, and the mixture's mean; 0 in masked rows."""

  losses: Float[Array, " B"]
  predictions: Float[Array, " B"]


def activation_gate(
  x: Float[Array, "B D"],
  weight: Float[Array, "E D"],
  bias: Float[Array, " E"],
  temperature: Float[Array, ""],
  mask: Num[Array, " B"],
  *,
  activation: str = "sigmoid",
  bias_inside: bool = False,
) -> Gate:
  """w = softmax((sigma(W x) + b) / tau); with `bias_inside`, softmax(sigma(W x + b) / tau).

  arXiv 2401.13875; activation "identity" is its plain dense-to-sparse gate, where (c W, c b, c tau) is the same gate
  for all c > 0. `temperature_interaction` shows which activations separate tau from W. The bias outside sigma and the
  tau that divides both are inferred: the abstract says that the linear layer's output goes through sigma. tau -> 0
  selects the largest score, tau -> infinity weights all equally. tau > 0 is exp of a free parameter, or its softplus +
  0.001, and starts at 1 (our choice); with a sigma between 0 and 1 the gate is nearly sparse once tau is below 0.05.

  >>> args = jnp.array([[0.0, 1.0]]), jnp.eye(2), jnp.zeros(2), 1 / jnp.log(jnp.array(3.0)), jnp.ones(1)
  >>> print(activation_gate(*args, activation="identity").weights.round(2))
  [[0.25 0.75]]
  """
  if x.ndim != 2 or weight.shape != (bias.shape[0], x.shape[1]) or mask.shape != x.shape[:1]:
    raise ValueError(
      "activation_gate: expected x [B D], weight [E D], bias [E] and mask [B], "
      f"got {x.shape}, {weight.shape}, {bias.shape} and {mask.shape}"
    )
  sigma, bias = activation_of("activation_gate", activation), widen(bias)
  scores = zero_masked(x, mask[:, None]) @ widen(weight).T
  scores = sigma(scores + bias) if bias_inside else sigma(scores) + bias
  log_weights = jax.nn.log_softmax(scores / widen(jnp.asarray(temperature)))
  return Gate(*(zero_masked(w, mask[:, None]) for w in (jnp.exp(log_weights), log_weights)))


def gaussian_mixture(
  log_weights: Float[Array, "B E"],
  means: Float[Array, "B E"],
  variances: Float[Array, " E"],
  targets: Float[Array, " B"],
  mask: Num[Array, " B"],
) -> GaussianMixture:
  """-log sum_i w_i N(y | mu_i, nu_i) by log-sum-exp, and sum_i w_i mu_i.

  arXiv 2401.13875, maximum likelihood: mu_i = a_i . x + b_i, nu_i a variance. The mean over unmasked rows is the loss.

  >>> args = jnp.log(jnp.array([[0.5, 0.5]])), jnp.array([[0.0, 2.0]]), jnp.ones(2), jnp.array([1.0]), jnp.ones(1)
  >>> print(gaussian_mixture(*args).losses.round(2))
  [1.42]
  """
  same_shape("gaussian_mixture", "B E", log_weights=log_weights, means=means)
  same_shape("gaussian_mixture", "B", targets=targets, mask=mask)
  rows = mask[:, None]
  log_weights, means, targets = zero_masked(log_weights, rows), zero_masked(means, rows), zero_masked(targets, mask)
  variances = widen(variances)
  log_densities = -(jnp.square(targets[:, None] - means) / variances + jnp.log(variances) + math.log(2 * math.pi)) / 2
  losses = -jax.nn.logsumexp(log_weights + log_densities, axis=-1)
  return GaussianMixture(zero_masked(losses, mask), (jax.nn.softmax(log_weights) * means).sum(axis=-1))


def temperature_interaction(
  scores: Float[Array, "*N"], temperature: Float[Array, ""], *, activation: str
) -> Float[Array, "*N"]:
  """(z sigma'(z) - sigma(z)) / tau^2 = (d/dtau + beta . d/dbeta / tau) log u, u = exp(sigma(z) / tau), z = beta . x.

  After arXiv 2401.13875: if it is 0 for every z, a change of beta can undo a change of tau, and tau is learned slowly.
  This holds for sigma homogeneous of degree 1 (identity, ReLU), not for sigmoid, tanh, GELU and SiLU. The paper's own
  conditions are linear independences; this simplest consequence of them is our derivation.

  >>> print(temperature_interaction(jnp.array([-1.0, 1.0]), jnp.array(1.0), activation="relu"))
  [0. 0.]
  """
  sigma, scores = activation_of("temperature_interaction", activation), widen(scores)
  value, along = jax.jvp(sigma, (scores,), (scores,))
  return (along - value) / jnp.square(widen(jnp.asarray(temperature)))
