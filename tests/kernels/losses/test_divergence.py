from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.losses.divergence import adaptive_kl_coefficient, kl
from rl_jax.kernels.reductions import aggregate
from tests.kernels.kernel import Kernel
from tests.kernels.numerics import finite_difference

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


def one_token(logprob, reference, **options):
  """Value and gradient."""
  at = lambda x: kl(x, jnp.full((1, 1), reference), jnp.ones((1, 1)), **options).sum()
  value, slope = jax.value_and_grad(at)(jnp.full((1, 1), logprob))
  return value.item(), slope.item()


LARGEST_K3 = np.exp(20) - 1 - 20
"""Of a token 20 nats, or more, less likely than under the reference."""


@pytest.mark.parametrize(
  "d, options, value, slope",
  [
    (-100.0, {"value": "k3"}, LARGEST_K3, 0.0),
    (-100.0, {"value": "k3", "value_clamp": 10.0}, 10.0, 0.0),
    (-100.0, {"value": "k3", "log_ratio_clamp": 20.0, "value_clamp": 10.0}, 10.0, 0.0),
    (-30.0, {"value": "k3", "log_ratio_clamp": 5.0}, np.exp(5) - 1 - 5, 0.0),
    (-3.0, {"value": "k3", "value_clamp": 10.0}, 10.0, 0.0),
    (100.0, {"value": "k3"}, 99.0, 1.0),
    (100.0, {"value": "k3", "log_ratio_clamp": 20.0}, 19.0, 0.0),
    (-100.0, {"value": "k1"}, -100.0, 1.0),
    (-100.0, {"value": "k1", "log_ratio_clamp": 20.0}, -20.0, 0.0),
    (-100.0, {"value": "k2"}, 5000.0, -100.0),
    (-100.0, {"value": "k2", "value_clamp": 10.0}, 10.0, 0.0),
    # Straight through: the estimator that is differentiated has the bounds of d, not that of the value.
    (-100.0, {"value": "k1", "gradient": "k3"}, -100.0, 0.0),
    (-100.0, {"value": "k3", "gradient": "k2"}, LARGEST_K3, -100.0),
    (-100.0, {"value": "k3", "gradient": "k2", "value_clamp": 10.0}, 10.0, -100.0),
    (-100.0, {"value": "k3", "gradient": "k2", "log_ratio_clamp": 20.0, "value_clamp": 10.0}, 10.0, 0.0),
    (-100.0, {"value": "k2", "gradient": "k3", "log_ratio_clamp": 20.0, "value_clamp": 10.0}, 10.0, 0.0),
    # exp(19) is 1.8e8, of which float32 holds no single units: the value has none of that rounding.
    (-19.0, {"value": "k1", "gradient": "k3"}, -19.0, 1 - np.exp(19)),
  ],
)
def test_far_from_the_reference_by_hand(d, options, value, slope):
  np.testing.assert_allclose(one_token(d - 1.0, -1.0, **options), (value, slope), rtol=1e-6)


@pytest.mark.parametrize("value", ["k1", "k2", "k3"])
@pytest.mark.parametrize("gradient", [None, "k1", "k2", "k3"])
@pytest.mark.parametrize("clamps", [{}, {"value_clamp": 10.0}, {"log_ratio_clamp": 20.0, "value_clamp": 10.0}])
def test_values_and_gradients_are_finite_at_any_distance(value, gradient, clamps):
  far = np.array([100.0, 1e4, 1e8, 3e38, np.inf], np.float32)
  near = np.full(5, -1.0, np.float32)
  logprobs = jnp.asarray(np.concatenate([-far, near, near, -far])[None])
  reference = jnp.asarray(np.concatenate([near, -far, near, -far])[None])
  estimates = lambda x: kl(x, reference, jnp.ones_like(x), value=value, gradient=gradient, **clamps)
  slopes = jax.grad(lambda x: estimates(x).sum())(logprobs)
  assert jnp.isfinite(estimates(logprobs)).all() and jnp.isfinite(slopes).all()
  infinite = np.arange(20) % 5 == 4
  assert not slopes[0, infinite & (np.arange(20) // 5 != 2)].any()
  if gradient is None:  # a bound of d or of the value that is active
    held = jnp.abs(logprobs - reference) > clamps.get("log_ratio_clamp", 2e5)
    held |= (jnp.abs(estimates(logprobs)) == clamps.get("value_clamp")) if "value_clamp" in clamps else False
    assert not jnp.where(held, slopes, 0).any()


def test_two_tokens_that_neither_can_sample_agree():
  for options in ({"value": "k1"}, {"value": "k2"}, {"value": "k3"}, {"value": "k1", "gradient": "k3"}):
    assert one_token(-np.inf, -np.inf, **options) == (0, 0)


def test_nan_is_not_hidden():
  """An update on it is skipped: it is no far token but an error."""
  for value in ("k1", "k2", "k3"):
    assert np.isnan(one_token(np.nan, -1.0, value=value)[0]) and np.isnan(one_token(-1.0, np.nan, value=value)[0])


@pytest.mark.parametrize("value", ["k1", "k2", "k3"])
def test_nearer_than_the_bounds_it_is_the_definition(value):
  """In float64, value and gradient: from d = -20 on, and k1 and k2 further."""
  distances = [*np.linspace(-19.99, 19.99, 9), 1e-4, 50.0, 9e3] + ([-50.0, -9e3] if value != "k3" else [])
  definition = {"k1": lambda x: x, "k2": lambda x: x**2 / 2, "k3": lambda x: np.exp(-x) - 1 + x}[value]
  for d in np.array(distances)[:, None, None]:
    with jax.enable_x64(True):
      result, slope = jax.value_and_grad(lambda x: kl(x, 0 * x, jnp.ones((1, 1)), value=value).sum())(jnp.asarray(d))
    np.testing.assert_allclose(result, definition(d.item()), rtol=1e-6)
    expected = finite_difference(lambda x: definition(x.item()), d)
    np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("gradient", [None, "k2", "k3"])
def test_a_far_token_leaves_the_gradients_of_others_alone(gradient):
  """An infinite loss would skip the whole update."""
  mask = jnp.ones((1, 3))
  total = lambda x: aggregate(kl(x, 0 * mask - 1, mask, gradient=gradient), mask, mode="token_mean").value
  value, slopes = jax.value_and_grad(total)(jnp.array([[-0.9, -101.0, -1.3]]))
  _, near = jax.value_and_grad(total)(jnp.array([[-0.9, -1.0, -1.3]]))
  assert jnp.isfinite(value)
  np.testing.assert_allclose(slopes[0, ::2], near[0, ::2], rtol=1e-6)


@pytest.mark.parametrize("gradient", [None, "k3"])
def test_masked_slots_may_hold_anything(gradient):
  garbage = jnp.array([[-1.0, jnp.nan, jnp.inf, -jnp.inf, 3e38]])
  mask = jnp.array([[1, 0, 0, 0, 0]])
  for logprobs, reference in ((garbage, 0 * mask), (-0.5 * mask, garbage), (garbage, garbage[:, ::-1])):
    clean = jnp.where(mask, logprobs, 0.0), jnp.where(mask, reference, 0.0)
    at = lambda x, ref: kl(x, ref, mask, gradient=gradient).sum()
    for a, b in zip(jax.value_and_grad(at)(logprobs, reference), jax.value_and_grad(at)(*clean), strict=True):
      np.testing.assert_array_equal(a, b)


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


def _kl(**options):
  return Kernel(kl, {"logprobs": "BT", "ref_logprobs": "BT", "mask": "BT"}, options, gradients=("logprobs",))


KERNELS = [
  _kl(value="k1"),
  _kl(value="k2"),
  _kl(value="k3", log_ratio_clamp=20.0, value_clamp=10.0),
  _kl(value="k1", gradient="k3"),
  _kl(value="k3", gradient="k2"),
  Kernel(
    adaptive_kl_coefficient,
    {"coefficient": "", "kl_value": ""},
    {"target": 0.1, "horizon": 100.0},
    mask=None,
    scope="batch",
  ),
]
