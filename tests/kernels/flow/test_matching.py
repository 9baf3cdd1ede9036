from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.flow import matching
from tests.kernels.kernel import Kernel, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
V, NOISE = RNG.normal(size=(2, 3, 2, 4))
OLD, REF = V + 0.3 * RNG.normal(size=(2, 3, 2, 4))
X0, TIMES, ADVANTAGES = RNG.normal(size=(3, 4)), np.array([0.9, 0.4]), np.array([1.0, -0.5, 0.2])
EVERY = np.ones(3)


def logprobs(v, **options):
  return matching.matching_logprobs(v, jnp.asarray(X0), jnp.asarray(NOISE), jnp.asarray(TIMES), EVERY, **options)


def test_worked_example():
  args = (jnp.array(x) for x in ([[[0.5, -1.0]]], [[0.2, 0.4]], [[[1.0, -0.5]]], [0.6], [1.0]))
  found = quick_jit(lambda *a: [matching.matching_logprobs(*a, weighting=name)[0, 0] for name in matching.WEIGHTINGS])
  np.testing.assert_allclose(found(*args), [-0.05, -0.03, -0.018, -0.134158079, -1.127300465], rtol=1e-5)


def test_loss_and_gradient_against_loops():
  """Off-policy, with a clip that binds, and both distances."""
  clip, beta, ema_beta = 0.1, 0.7, 0.3

  def weighted(v):
    errors = np.square(v - (NOISE - X0[:, None])).mean(axis=-1)
    return TIMES / 0.25 * ((errors + 1e-10) ** 0.25 - 1e-10**0.25)

  def reference(v):
    ratios = np.exp(weighted(OLD) - weighted(v))
    a = ADVANTAGES[:, None]
    policy = np.maximum(-a * ratios, -a * np.clip(ratios, 1 - clip, 1 + clip)).mean()
    elbo = np.square(v - OLD).mean(axis=-1) / (2 * 0.7**2 * TIMES / (1 - TIMES))
    return policy + beta * np.square(v - REF).mean() + ema_beta * elbo.mean()

  def loss(v):
    policy = matching.awm(logprobs(v), logprobs(jnp.asarray(OLD)), jnp.asarray(ADVANTAGES), EVERY, clip=clip)
    kl = matching.velocity_kl(v, jnp.asarray(REF), TIMES, EVERY)
    ema_kl = matching.velocity_kl(v, jnp.asarray(OLD), jnp.asarray(TIMES), EVERY, weighting="elbo")
    return matching.MatchingLoss(policy, kl, ema_kl).value(beta=beta, ema_beta=ema_beta)

  with jax.enable_x64(True):
    value, gradient = quick_jit(jax.value_and_grad(loss))(V)
  np.testing.assert_allclose(value, reference(V), rtol=1e-12)
  np.testing.assert_allclose(gradient, finite_difference(reference, V), atol=1e-8)


@pytest.mark.parametrize("order", ["exp_first", "sum_first"])
def test_on_policy_the_gradient_is_that_of_the_weighted_matching_loss(order):
  surrogate = lambda v: (
    matching.awm(logprobs(v), jax.lax.stop_gradient(logprobs(v)), jnp.asarray(ADVANTAGES), EVERY, order=order).value
  )
  matched = lambda v: -(ADVANTAGES[:, None] * logprobs(v)).mean()
  both = quick_jit(lambda v: (jax.grad(surrogate)(v), jax.grad(matched)(v)))
  with jax.enable_x64(True):
    np.testing.assert_allclose(*both(V), rtol=1e-10, atol=1e-14)


def test_powers_of_the_general_huber_weight():
  forms = {"power": 1.0}, {"power": 0.5}, {"weighting": "t"}, {"weighting": "huber"}
  with jax.enable_x64(True):
    whole, half, t, huber = quick_jit(lambda v: [logprobs(v, **options) for options in forms])(V)
  np.testing.assert_allclose(whole, t, rtol=1e-9)
  np.testing.assert_allclose(half, 2 * np.asarray(huber), rtol=1e-9)


def test_the_path_leads_from_samples_to_noise():
  path = matching.flow_path(jnp.asarray(X0), jnp.asarray(NOISE), jnp.array([0.0, 1.0]))
  np.testing.assert_allclose(path.points, np.stack([X0, NOISE[:, 1]], axis=1), rtol=1e-6)
  np.testing.assert_allclose(path.points[:, 0] + path.velocities[:, 0], NOISE[:, 0], rtol=1e-5)


def test_bounds_and_decay():
  np.testing.assert_allclose(
    matching.bounded_advantages(jnp.array([7.0, -1.0]), largest=5.0), [5, -1]
  )  # Flow-GRPO's: a clip alone
  np.testing.assert_allclose(matching.ema_decay(jnp.array([0, 299, 301])), [0, 0.299, 0.3], rtol=1e-6)


def test_a_right_velocity_has_a_finite_gradient():
  target = matching.flow_path(jnp.asarray(X0), jnp.asarray(NOISE), jnp.asarray(TIMES)).velocities
  gradient = jax.grad(lambda v: logprobs(v).sum())(target)
  np.testing.assert_array_equal(gradient, 0)


def test_wrong_calls_say_what_to_do():
  with pytest.raises(ValueError, match=r"expected x0 \[B D\], noise \[B K D\] and times \[K\]"):
    matching.flow_path(jnp.ones((3, 4)), jnp.ones((3, 2, 4)), jnp.ones(3))
  with pytest.raises(ValueError, match="unknown order 'mean_first'; known: exp_first, sum_first"):
    matching.awm(jnp.ones((1, 1)), jnp.ones((1, 1)), jnp.ones(1), jnp.ones(1), order="mean_first")


SIZES = {"D": 4, "K": 2}
UNIT = lambda rng, shape: rng.uniform(0.1, 0.9, shape).astype(np.float32)
DRAWS = {"times": UNIT}
SAMPLES = {"x0": "BD", "noise": "BKD", "times": "K"}

KERNELS = [
  Kernel(matching.flow_path, SAMPLES, mask=None, draws=DRAWS, sizes=SIZES),
  Kernel(matching.bounded_advantages, {"advantages": "B"}, mask=None),
  Kernel(
    matching.matching_logprobs,
    {"velocities": "BKD"} | SAMPLES | {"mask": "B"},
    gradients=("velocities",),
    draws=DRAWS,
    sizes=SIZES,
  ),
  Kernel(
    matching.velocity_kl,
    {"velocities": "BKD", "ref_velocities": "BKD", "times": "K", "mask": "B"},
    {"weighting": "elbo"},
    gradients=("velocities",),
    draws=DRAWS,
    sizes=SIZES,
  ),
  Kernel(
    matching.awm,
    {"logprobs": "BK", "old_logprobs": "BK", "advantages": "B", "mask": "B"},
    gradients=("logprobs",),
    sizes=SIZES,
  ),
  Kernel(matching.ema_decay, {"step": "B"}, mask=None),
]
