from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.layers._activations import ACTIVATIONS
from rl_jax.kernels.layers.gating import activation_gate, gaussian_mixture, temperature_interaction
from tests.kernels.kernel import Kernel, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
X, WEIGHT, BIAS, TARGETS = (RNG.normal(size=shape) for shape in ((6, 3), (4, 3), (4,), (6,)))


def gate(weight, bias, temperature, **options):
  args = (jnp.asarray(x) for x in (X, weight, bias, temperature))
  return activation_gate(*args, jnp.ones(6), **options)


def test_loss_and_gradients_against_loops():
  """Of the mixture's likelihood by gate weights, temperature, means and variances."""
  means, variances = RNG.normal(size=(6, 4)), RNG.uniform(0.5, 2, 4)

  def reference(weight, temperature, means, variances):
    total = 0.0
    for x, y, mean in zip(X, TARGETS, means, strict=True):
      scores = np.exp((1 / (1 + np.exp(-weight @ x)) + BIAS) / temperature)
      densities = np.exp(-((y - mean) ** 2) / (2 * variances)) / np.sqrt(2 * np.pi * variances)
      total -= np.log((scores / scores.sum()) @ densities)
    return total

  def loss(weight, temperature, means, variances):
    log_weights = gate(weight, BIAS, temperature).log_weights
    return gaussian_mixture(log_weights, means, variances, jnp.asarray(TARGETS), jnp.ones(6)).losses.sum()

  args = WEIGHT, np.array(0.7), means, variances
  with jax.enable_x64(True):
    value, gradients = quick_jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3)))(*args)
  np.testing.assert_allclose(value, reference(*args), rtol=1e-12)
  for i, gradient in enumerate(gradients):
    expected = finite_difference(lambda x, i=i: reference(*args[:i], x, *args[i + 1 :]), args[i])
    np.testing.assert_allclose(gradient, expected, atol=1e-8)


def test_the_plain_gate_alone_has_a_scale_too_many():
  scaled = lambda **options: gate(3 * WEIGHT, 3 * BIAS, 3.0, **options).weights
  np.testing.assert_allclose(
    scaled(activation="identity"), gate(WEIGHT, BIAS, 1.0, activation="identity").weights, 1e-5
  )
  assert np.abs(scaled() - gate(WEIGHT, BIAS, 1.0).weights).max() > 0.01


def test_fisher_information_of_temperature_and_weights():
  """Singular for the plain gate, not for sigmoid: two experts, of which the second has a score of 0."""

  def losses(theta, activation):
    weight, bias = (jnp.stack([x, 0 * x]) for x in (theta[1:4], theta[4]))
    log_weights = gate(weight, bias, theta[0], activation=activation).log_weights
    means, variances = jnp.asarray(X[:, :2]), jnp.array([0.5, 1.0])
    return gaussian_mixture(log_weights, means, variances, jnp.asarray(TARGETS), jnp.ones(6)).losses

  with jax.enable_x64(True):
    theta = jnp.array([0.8, *WEIGHT[0], 0.3])
    scores = {
      name: np.asarray(quick_jit(jax.jacrev(partial(losses, activation=name)))(theta))
      for name in ("identity", "sigmoid")
    }
  values = {name: np.linalg.svd(s, compute_uv=False) for name, s in scores.items()}
  assert values["identity"][-1] < 1e-15 < 1e-5 < values["sigmoid"][-1], values


def test_what_parts_the_temperature_from_the_weights():
  scores = jnp.array([-1.5, -0.2, 0.4, 2.0])
  for name in ACTIVATIONS:
    residual = temperature_interaction(scores, jnp.array(0.5), activation=name)
    assert (np.abs(residual).max() < 1e-6) == (name in ("identity", "relu")), name


def test_extreme_temperatures():
  sharp, flat = gate(WEIGHT, BIAS, 1e-3).weights, gate(WEIGHT, BIAS, 1e6).weights
  np.testing.assert_array_equal(sharp.argmax(axis=1), gate(WEIGHT, BIAS, 1.0).weights.argmax(axis=1))
  np.testing.assert_allclose(sharp.max(axis=1), 1, atol=1e-4)
  np.testing.assert_allclose(flat, 0.25, atol=1e-5)


def test_experts_in_any_order():
  order = np.array([2, 0, 3, 1])
  permuted = gate(WEIGHT[order], BIAS[order], 0.5).weights
  np.testing.assert_allclose(permuted, gate(WEIGHT, BIAS, 0.5).weights[:, order], rtol=1e-6)


def test_wrong_calls_say_what_to_do():
  with pytest.raises(ValueError, match=r"expected x \[B D\], weight \[E D\], bias \[E\]"):
    gate(WEIGHT[:, :2], BIAS, 1.0)
  with pytest.raises(ValueError, match="unknown activation 'sine'; known: identity, relu, sigmoid"):
    gate(WEIGHT, BIAS, 1.0, activation="sine")


SIZES = {"D": 3, "E": 4}
POSITIVE = lambda rng, shape: rng.uniform(0.5, 2, shape).astype(np.float32)

KERNELS = [
  Kernel(
    activation_gate,
    {"x": "BD", "weight": "ED", "bias": "E", "temperature": "", "mask": "B"},
    gradients=("x", "weight", "bias", "temperature"),
    draws={"temperature": POSITIVE},
    sizes=SIZES,
  ),
  Kernel(
    gaussian_mixture,
    {"log_weights": "BE", "means": "BE", "variances": "E", "targets": "B", "mask": "B"},
    gradients=("log_weights", "means"),
    draws={"variances": POSITIVE},
    sizes=SIZES,
  ),
  Kernel(temperature_interaction, {"scores": "B", "temperature": ""}, {"activation": "sigmoid"}, mask=None),
]
