from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.layers import ensemble
from tests.kernels.kernel import Kernel, compiled, quick_jit
from tests.kernels.numerics import finite_difference
from tests.kernels.papers.as_released import mean_of_log_distributions

RNG = np.random.default_rng(0)
LOGPROBS, PRIOR = -3 * RNG.random((2, 3, 5)), np.array([0.6, 0.3, 0.1])
MASK = np.array([[1, 1, 0, 1, 1], [0, 1, 1, 0, 0]])
MIXTURE = quick_jit(ensemble.domain_mixture)


def reference(logprobs):
  mixed, weights = np.zeros((2, 5)), np.zeros((2, 5, 3))
  for b in range(2):
    posterior = PRIOR
    for t in np.flatnonzero(MASK[b]):
      likelihood = np.exp(logprobs[b, :, t])
      weights[b, t], mixed[b, t] = posterior, np.log(posterior @ likelihood)
      posterior = posterior * likelihood / (posterior @ likelihood)  # Bayes' rule, token by token
  return mixed, weights


def test_values_and_gradient_against_bayes_rule_by_loops():
  total = lambda x: ensemble.domain_mixture(x, jnp.asarray(PRIOR), jnp.asarray(MASK)).logprobs.sum()
  with jax.enable_x64(True):
    found, gradient = MIXTURE(LOGPROBS, PRIOR, MASK), quick_jit(jax.grad(total))(LOGPROBS)
  for actual, expected in zip(found, reference(LOGPROBS), strict=True):
    np.testing.assert_allclose(actual, expected, atol=1e-12)
  np.testing.assert_allclose(gradient, finite_difference(lambda x: reference(x)[0].sum(), LOGPROBS), atol=1e-8)


def test_the_text_is_scored_as_by_a_mixture_of_whole_texts():
  """The sum over tokens is log sum_k prior_k p_k(text): no worse than the best expert by more than -log its prior."""
  found = MIXTURE(LOGPROBS, PRIOR, MASK).logprobs.sum(axis=1)
  whole = (LOGPROBS * MASK[:, None]).sum(axis=2)
  np.testing.assert_allclose(found, np.log(np.exp(whole) @ PRIOR), rtol=1e-5)
  assert (found >= (whole + np.log(PRIOR)).max(axis=1) - 1e-5).all()


def test_the_right_domain_is_found_in_a_few_tokens():
  """An expert that gives half a nat more per token has 99 % after about ten tokens."""
  logprobs = jnp.stack([jnp.full(20, -1.0), jnp.full(20, -1.5), jnp.full(20, -1.6)])[None]
  weights = ensemble.domain_mixture(logprobs, jnp.full(3, 1 / 3), jnp.ones((1, 20))).weights[0, :, 0]
  assert weights[0] == pytest.approx(1 / 3) and weights[11] > 0.99 > weights[5]


def test_experts_in_any_order_and_one_alone():
  order = np.array([2, 0, 1])
  turned = MIXTURE(LOGPROBS[:, order], PRIOR[order], MASK)
  np.testing.assert_allclose(turned.logprobs, MIXTURE(LOGPROBS, PRIOR, MASK).logprobs, rtol=1e-5)
  alone = MIXTURE(LOGPROBS, np.array([0.0, 1.0, 0.0]), MASK)
  np.testing.assert_allclose(alone.logprobs, LOGPROBS[:, 1] * MASK, rtol=1e-6)
  np.testing.assert_array_equal(alone.weights[..., 0], 0)


def test_cached_priors_against_loops():
  texts = 3 * RNG.normal(size=(6, 3))
  posteriors = np.exp(texts) / np.exp(texts).sum(axis=1, keepdims=True)
  btm = sum(0.3 ** (n + 1) * p for n, p in enumerate(posteriors))
  running = np.ones(3)
  for n, text in enumerate(texts):
    under = np.exp(text) * running
    running = 0.3 ** (n + 1) * running + under / under.sum()
  for form, expected in (("btm", btm), ("running", running)):
    np.testing.assert_allclose(
      ensemble.cached_prior(jnp.asarray(texts), form=form), expected / expected.sum(), rtol=1e-4
    )


def test_the_product_of_experts_is_a_distribution_and_the_released_average_is_not():
  logprobs = jax.nn.log_softmax(jnp.asarray(RNG.normal(size=(4, 3, 6))))
  np.testing.assert_allclose(jnp.exp(ensemble.geometric_mixture(logprobs)).sum(axis=1), 1, rtol=1e-5)
  assert (jnp.exp(mean_of_log_distributions(logprobs)).sum(axis=1) < 0.95).all()


def test_experts_without_a_common_token_allow_none():
  logprobs = jnp.log(jnp.array([[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [1.0, 0.0]]]))
  found = compiled(ensemble.geometric_mixture)(logprobs)
  np.testing.assert_array_equal(found, [[-np.inf, -np.inf], [0, -np.inf]])


def test_a_budget_is_used_up():
  ratios, costs = jnp.array([3, 4, 5]), jnp.array([2.0, 1.0, 0.5])
  steps = ensemble.iso_compute_steps(ratios, costs, budget=125_000)
  assert (steps * costs).sum() == pytest.approx(125_000, rel=1e-4)
  np.testing.assert_allclose(steps / ratios, steps[0] / 3, rtol=1e-4)


def test_no_texts_no_memory_and_no_ratios():
  for form in ("btm", "running"):
    np.testing.assert_array_equal(ensemble.cached_prior(jnp.zeros((0, 2)), form=form), [0.5, 0.5])
  np.testing.assert_array_equal(ensemble.cached_prior(jnp.zeros((1, 2)), decay=0.0), [0.5, 0.5])
  np.testing.assert_array_equal(ensemble.iso_compute_steps(jnp.zeros(2), jnp.ones(2), budget=9.0), [0, 0])


def test_wrong_shapes_say_what_is_expected():
  with pytest.raises(ValueError, match=r"logprobs \[B K T\], prior \[K\] and mask \[B T\]"):
    ensemble.domain_mixture(jnp.ones((2, 3, 5)), jnp.ones(2), jnp.ones((2, 5)))


SIZES = {"N": 4}
DRAWS = {
  "prior": lambda rng, shape: rng.dirichlet(np.ones(shape[0])).astype(np.float32),
  "ratios": lambda rng, shape: rng.integers(1, 6, shape).astype(np.int32),
  "costs": lambda rng, shape: rng.uniform(0.5, 2, shape).astype(np.float32),
}

KERNELS = [
  Kernel(
    ensemble.domain_mixture,
    {"logprobs": "BKT", "prior": "K", "mask": "BT"},
    covers={"logprobs": ""},
    gradients=("logprobs",),
    draws=DRAWS,
  ),
  Kernel(ensemble.cached_prior, {"log_likelihoods": "NK"}, mask=None, sizes=SIZES),
  Kernel(ensemble.geometric_mixture, {"logprobs": "BKV"}, mask=None, gradients=("logprobs",)),
  Kernel(ensemble.iso_compute_steps, {"ratios": "K", "costs": "K"}, {"budget": 1000}, mask=None, draws=DRAWS),
]
