from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.pareto import constrained
from tests.kernels.kernel import Kernel, compiled, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
RETURNS, START = np.array([3.0, 1.9, 1.0]), np.array([2.5, 2.0, 1.05])
RATIOS, SAMPLES = np.array([0.5, 0.95, 1.1, 1.5]), RNG.uniform(0.5, 2, (4, 3))
MASK = np.array([1, 1, 1, 0])


def test_the_barrier_and_its_gradient_against_loops():
  reference = lambda g: sum(np.log(g[i] - 0.9 * START[i]) for i in (1, 2)) / 20
  barrier = lambda g: constrained.log_barrier(g, jnp.array(START), objective=0).value
  with jax.enable_x64(True):
    value, gradient = quick_jit(jax.value_and_grad(barrier))(RETURNS)
  np.testing.assert_allclose(value, reference(RETURNS), rtol=1e-12)
  np.testing.assert_allclose(gradient, finite_difference(reference, RETURNS), atol=1e-8)


def test_the_start_is_feasible_if_its_returns_are_positive():
  """For negative ones only with the threshold that loses a share."""
  negative = np.array([1.0, -2.0, 0.5])
  for start, threshold, feasible in (
    (START, "share", True),
    (START, "loss", True),
    (negative, "share", False),
    (negative, "loss", True),
  ):
    barrier = compiled(constrained.log_barrier, objective=0, threshold=threshold)(start, start)
    assert barrier.feasible == feasible and np.isfinite(barrier.value) == feasible
  gradient = quick_jit(jax.grad(lambda g: constrained.log_barrier(g, jnp.array(negative), objective=0).value))(negative)
  assert not gradient.any()


def test_a_weaker_barrier_is_nearer_to_zero_and_other_thresholds_agree_on_positive_returns():
  barrier = lambda **options: compiled(constrained.log_barrier, objective=0, **options)(RETURNS, START).value
  np.testing.assert_allclose(barrier(threshold="share"), 10 * barrier(t=200.0), rtol=1e-5)
  np.testing.assert_allclose(barrier(threshold="loss"), barrier(threshold="share"), rtol=1e-5)


def sample_barrier(ratios):
  """Mean over unmasked samples and objectives but number 1, with margins that end at the floor."""
  means, logs = SAMPLES[:3].mean(axis=0), []
  for ratio in ratios[:3]:
    logs += [np.log(max(np.clip(ratio, 0.8, 1.2) * means[i] - 0.9 * means[i], 1e-3)) for i in (0, 2)]
  return -np.mean(logs) / 20


def test_the_barrier_of_samples_and_its_gradient_against_loops():
  def loss(ratios):
    return constrained.ratio_barrier(ratios, jnp.array(SAMPLES), jnp.array(MASK), objective=1).sum() / 3

  with jax.enable_x64(True):
    value, gradient = map(np.asarray, quick_jit(jax.value_and_grad(loss))(RATIOS))
  np.testing.assert_allclose(value, sample_barrier(RATIOS), rtol=1e-12)
  np.testing.assert_allclose(gradient, finite_difference(sample_barrier, RATIOS), atol=1e-7)
  assert gradient[0] == gradient[3] == 0  # at the floor, and masked


def test_the_barrier_of_samples_pushes_nowhere_on_average_and_that_of_the_start_does():
  """Over all actions, weighted by their probabilities: E[grad log pi] = 0, but E[A grad log pi] is not."""
  logits, returns = jnp.array([0.3, -0.5, 1.0, 0.1]), jnp.array(SAMPLES, jnp.float32)
  old, every = jax.nn.softmax(logits), jnp.ones(4)

  mean = old @ returns

  def of_samples(x):
    alike = jnp.broadcast_to(mean, returns.shape)  # the batch's mean return, whatever the weights
    return old @ constrained.ratio_barrier(jax.nn.softmax(x) / old, alike, every, objective=1)

  def of_the_start(x):
    weighted = 4 * old[:, None] * (returns - mean)  # a mean over samples is then one over actions
    now = constrained.importance_weighted_returns(mean, jax.nn.softmax(x) / old, weighted, every)
    return constrained.log_barrier(now, mean, objective=1).value

  by_samples, by_start = quick_jit(lambda x: (jax.grad(of_samples)(x), jax.grad(of_the_start)(x)))(logits)
  np.testing.assert_allclose(by_samples, np.zeros(4), atol=1e-6)
  assert abs(np.asarray(by_start)).max() > 1e-2


def test_on_policy_the_estimate_is_the_samplers_and_moves_by_the_mean_advantage():
  advantages = RNG.normal(size=(4, 3)).astype(np.float32)

  estimate = lambda ratios, a: compiled(constrained.importance_weighted_returns)(RETURNS, ratios, a, MASK)
  np.testing.assert_allclose(estimate(np.ones(4), advantages - advantages[:3].mean(axis=0)), RETURNS, rtol=1e-5)
  clipped = np.clip(RATIOS[:3, None], 0.8, 1.2) * advantages[:3]
  np.testing.assert_allclose(estimate(RATIOS, advantages), RETURNS + clipped.mean(axis=0), rtol=1e-5)


def test_an_objective_that_is_not_there():
  with pytest.raises(ValueError, match="expected one of the 3 objectives, got 3"):
    constrained.log_barrier(jnp.ones(3), jnp.ones(3), objective=3)


POSITIVE = lambda rng, shape: rng.uniform(0.5, 2, shape).astype(np.float32)
DRAWS = {"ratios": POSITIVE, "returns": POSITIVE, "start": lambda rng, shape: np.full(shape, 0.3, np.float32)}

KERNELS = [
  Kernel(
    constrained.log_barrier,
    {"returns": "K", "start": "K"},
    {"objective": 1},
    mask=None,
    gradients=("returns",),
    draws=DRAWS,
  ),
  Kernel(
    constrained.importance_weighted_returns,
    {"returns": "K", "ratios": "B", "advantages": "BK", "mask": "B"},
    scope="batch",
    gradients=("ratios",),
    zero_masked=False,
    draws=DRAWS,
  ),
  Kernel(
    constrained.ratio_barrier,
    {"ratios": "B", "returns": "BK", "mask": "B"},
    {"objective": 1},
    scope="batch",
    gradients=("ratios",),
    draws=DRAWS,
  ),
]
