from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.games.beliefs import prototype_logprobs, split_belief, split_value
from tests.kernels.kernel import Kernel, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
PRIOR, SIGNALS = RNG.dirichlet(np.ones(3), size=4), RNG.dirichlet(np.ones(2), size=(4, 3))
COSTS, VALUES = RNG.normal(size=(2, 4, 2))


def test_signals_that_tell_all_and_nothing():
  prior = jnp.array([0.25, 0.75])
  apart, alike = split_belief(prior, jnp.eye(2)), split_belief(prior, jnp.array([[0.75, 0.25], [0.75, 0.25]]))
  np.testing.assert_array_equal(apart.posteriors, jnp.eye(2))
  np.testing.assert_array_equal(apart.weights, prior)
  np.testing.assert_array_equal(alike.posteriors, jnp.stack([prior, prior]))
  unused = split_belief(prior, jnp.array([[1.0, 0.0], [1.0, 0.0]]))
  np.testing.assert_array_equal(unused.posteriors, [[0.25, 0.75], [0, 0]])
  certain = split_belief(jnp.array([1.0, 0.0]), jnp.array([[0.5, 0.5], [0.25, 0.75]]))
  np.testing.assert_array_equal(certain.posteriors, [[1, 0], [1, 0]])


def test_beliefs_are_a_martingale_in_any_order_of_prototypes():
  split = split_belief(jnp.asarray(PRIOR), jnp.asarray(SIGNALS))
  np.testing.assert_allclose((split.weights[..., None] * split.posteriors).sum(axis=1), PRIOR, rtol=1e-5)
  np.testing.assert_allclose(split.posteriors.sum(axis=-1), 1, rtol=1e-5)
  turned = split_belief(jnp.asarray(PRIOR), jnp.asarray(SIGNALS[..., ::-1]))
  np.testing.assert_array_equal(turned.posteriors[:, ::-1], split.posteriors)


def test_gradient_through_the_signals_against_loops():
  """Of a value that depends on the beliefs too, here by the square of the first type's."""

  def reference(logits):
    total = 0.0
    for p, scores, cost in zip(PRIOR, logits, COSTS, strict=True):
      signals = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
      for j in range(2):
        weight = p @ signals[:, j]
        total += weight * (cost[j] + (p[0] * signals[0, j] / weight) ** 2)
    return total

  def total(logits):
    split = split_belief(jnp.asarray(PRIOR), jax.nn.softmax(logits))
    return split_value(split.weights, jnp.asarray(COSTS), jnp.square(split.posteriors[..., 0])).sum()

  logits = RNG.normal(size=(4, 3, 2))
  with jax.enable_x64(True):
    value, gradient = quick_jit(jax.value_and_grad(total))(logits)
  np.testing.assert_allclose(value, reference(logits), rtol=1e-12)
  np.testing.assert_allclose(gradient, finite_difference(reference, logits), atol=1e-8)


def test_the_marginal_of_prototypes():
  logprobs, types, prototypes = -RNG.random((4, 2)), np.array([0, 2, 1, 2]), np.array([1, 0, 1, 1])
  args = jnp.asarray(logprobs), jnp.log(jnp.asarray(SIGNALS)), jnp.asarray(types), jnp.ones(4)
  joint = np.exp(logprobs) * SIGNALS[np.arange(4), types]
  np.testing.assert_allclose(jnp.exp(prototype_logprobs(*args)), joint.sum(axis=1), rtol=1e-5)
  stored = prototype_logprobs(*args, jnp.asarray(prototypes))
  np.testing.assert_allclose(jnp.exp(stored), joint[np.arange(4), prototypes], rtol=1e-5)


def test_wrong_shapes_say_what_is_expected():
  with pytest.raises(ValueError, match=r"prior \[... I\] and signals \[... I J\], got \(2,\), \(3, 2\)"):
    split_belief(jnp.ones(2), jnp.ones((3, 2)))
  with pytest.raises(ValueError, match=r"arrays of one shape \[... J\]"):
    split_value(jnp.ones(2), jnp.ones(3), jnp.ones(2))


SIZES = {"I": 3, "J": 2}
SHARES = lambda rng, shape: rng.dirichlet(np.ones(shape[-1]), size=shape[:-1]).astype(np.float32)
DRAWS = {
  "prior": SHARES,
  "signals": SHARES,
  "weights": SHARES,
  "types": lambda rng, shape: rng.integers(0, 3, shape).astype(np.int32),
  "prototypes": lambda rng, shape: rng.integers(0, 2, shape).astype(np.int32),
}
LOGPROBS = {"logprobs": "BJ", "log_signals": "BIJ", "types": "B", "mask": "B"}

KERNELS = [
  Kernel(split_belief, {"prior": "BI", "signals": "BIJ"}, mask=None, gradients=("signals",), draws=DRAWS, sizes=SIZES),
  Kernel(
    split_value,
    {"weights": "BJ", "stage_costs": "BJ", "next_values": "BJ"},
    mask=None,
    gradients=("weights", "stage_costs"),
    draws=DRAWS,
    sizes=SIZES,
  ),
  Kernel(prototype_logprobs, LOGPROBS, gradients=("logprobs", "log_signals"), draws=DRAWS, sizes=SIZES),
  Kernel(
    prototype_logprobs, LOGPROBS | {"prototypes": "B"}, gradients=("logprobs", "log_signals"), draws=DRAWS, sizes=SIZES
  ),
]
