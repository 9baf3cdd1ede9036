from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.losses.kl import adaptive_kl_coefficient, kl

LOGITS, REFERENCE = jnp.array([0.3, -1.0, 0.8, 0.1]), jax.nn.log_softmax(jnp.array([0.0, 0.5, 0.2, -0.7]))
MASK = jnp.ones((1, 4))


def forward(logits):
  p = jnp.exp(jax.nn.log_softmax(logits))
  return (p * (jnp.log(p) - REFERENCE)).sum()


def backward(logits):
  return (jnp.exp(REFERENCE) * (REFERENCE - jax.nn.log_softmax(logits))).sum()


def expected(logits, **options):
  """The estimator's mean over all tokens, sampled from the policy: sampling itself is not differentiated."""
  logprobs = jax.nn.log_softmax(logits)
  estimates = kl(logprobs[None], REFERENCE[None], MASK, **options)[0]
  return (jax.lax.stop_gradient(jnp.exp(logprobs)) * estimates).sum()


@pytest.mark.parametrize("value", ["k1", "k3"])
def test_k1_and_k3_are_unbiased(value):
  np.testing.assert_allclose(expected(LOGITS, value=value), forward(LOGITS), rtol=1e-5)


def test_k2_is_the_half_mean_square():
  p = np.exp(jax.nn.log_softmax(LOGITS))
  np.testing.assert_allclose(expected(LOGITS, value="k2"), (p * (np.log(p) - REFERENCE) ** 2).sum() / 2, rtol=1e-5)


@pytest.mark.parametrize("value", ["k1", "k2", "k3"])
@pytest.mark.parametrize("gradient", [None, "k1", "k2", "k3"])
def test_value_and_gradient_are_separate(value, gradient):
  of = {"k1": lambda x: 0 * x.sum(), "k2": forward, "k3": backward}[gradient or value]
  result, slope = jax.value_and_grad(expected)(LOGITS, value=value, gradient=gradient)
  np.testing.assert_allclose(result, expected(LOGITS, value=value), rtol=1e-6)
  np.testing.assert_allclose(slope, jax.grad(of)(LOGITS), atol=1e-6)


def test_clamps():
  far = jnp.full((1, 1), -30.0)
  one = jnp.ones((1, 1))
  assert kl(far, 0 * far, one, value="k3", log_ratio_clamp=20.0, value_clamp=10.0).item() == 10
  assert kl(far, 0 * far, one, value="k1", log_ratio_clamp=20.0).item() == -20


def test_k3_keeps_its_digits_near_zero():
  d = jnp.full((1, 1), 1e-4)
  np.testing.assert_allclose(kl(d, 0 * d, jnp.ones((1, 1)), value="k3"), 0.5e-8, rtol=0.05)


def test_adaptive_coefficient_moves_towards_the_target_and_is_clipped():
  options = dict(target=2.0, horizon=100.0, num_steps=10)
  np.testing.assert_allclose(adaptive_kl_coefficient(0.1, 2.2, **options), 0.1 * 1.01, rtol=1e-6)
  np.testing.assert_allclose(adaptive_kl_coefficient(0.1, 50.0, **options), 0.1 * 1.02, rtol=1e-6)
  np.testing.assert_allclose(adaptive_kl_coefficient(0.1, 0.0, **options), 0.1 * 0.98, rtol=1e-6)


def test_an_unknown_estimator_lists_the_known():
  with pytest.raises(ValueError, match="unknown gradient 'k4'; known: k1, k2, k3"):
    kl(MASK, MASK, MASK, gradient="k4")
