from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from rl_jax.kernels.flow.reverse_steps import reverse_step, step_kl, step_logprobs
from tests.kernels.kernel import Kernel, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
X, V, NEXT = RNG.normal(size=(3, 2, 4))


def step(v, sigma=0.8, next_sigma=0.7, x=X, **options):
  return reverse_step(jnp.asarray(x), v, jnp.asarray(sigma), jnp.asarray(next_sigma), **options)


def test_logprobs_kl_and_gradients_against_loops():
  d = 0.7 * np.sqrt(0.8 / 0.2)
  std, ref = d * np.sqrt(0.1), NEXT + 1

  def reference(v):
    means = X * (1 - d**2 / 1.6 * 0.1) - v * (1 + d**2 / 1.6 * 0.2) * 0.1
    logprobs = norm.logpdf(NEXT, means, std).mean(axis=1)
    return (logprobs + np.square(means - ref).mean(axis=1) / (2 * std**2)).sum()

  def total(v):
    found = step(v)
    args = found.means, jnp.asarray(ref), found.std, jnp.ones(2)
    return (step_logprobs(jnp.asarray(NEXT), found.means, found.std, jnp.ones(2)) + step_kl(*args)).sum()

  with jax.enable_x64(True):
    value, gradient = quick_jit(jax.value_and_grad(total))(V)
  np.testing.assert_allclose(value, reference(V), rtol=1e-12)
  np.testing.assert_allclose(gradient, finite_difference(reference, V), atol=1e-8)


def test_without_noise_it_is_an_euler_step():
  found = step(jnp.asarray(V), noise_level=0.0)
  np.testing.assert_allclose(found.means, X - 0.1 * V, rtol=1e-5)
  assert found.std == 0


def test_noise_leaves_the_marginals_alone():
  """Data N(0, 1): the variance after a step is that of the path, to second order in its length."""
  variance = lambda t: (1 - t) ** 2 + t**2
  for sigma in (0.3, 0.8):
    velocity = (2 * sigma - 1) / variance(sigma)
    for level in (0.0, 0.7):
      found = step(jnp.full((1, 1), velocity), sigma, sigma - 1e-2, np.ones((1, 1)), noise_level=level)
      after = found.means[0, 0] ** 2 * variance(sigma) + found.std**2
      assert abs(after - variance(sigma - 1e-2)) < 2e-3
      assert level == 0 or found.std**2 > 1e-3  # the noise itself is of first order


def test_at_sigma_one_the_next_sigma_stands_in_the_denominator():
  found = step(jnp.asarray(V), 1.0, 0.9, largest_sigma=0.95)
  np.testing.assert_allclose(found.diffusion, 0.7 * np.sqrt(1 / 0.05), rtol=1e-5)
  without = step(jnp.asarray(V), 1.0, 0.9, noise_level=0.0)
  np.testing.assert_allclose(without.means, step(jnp.asarray(V), 0.5, 0.4, noise_level=0.0).means, rtol=1e-5)
  assert without.std == 0


def test_wrong_shapes_say_what_is_expected():
  with pytest.raises(ValueError, match=r"reverse_step: expected arrays of one shape \[B D\]"):
    step(jnp.ones((2, 3)))


SIZES = {"D": 4}
SIGMAS = {
  name: lambda rng, shape, s=s: np.float32(s) for name, s in (("sigma", 0.8), ("next_sigma", 0.7), ("std", 0.5))
}

KERNELS = [
  Kernel(
    reverse_step,
    {"x": "BD", "velocities": "BD", "sigma": "", "next_sigma": ""},
    mask=None,
    scope="batch",  # one standard deviation for all rows
    gradients=("velocities",),
    draws=SIGMAS,
    sizes=SIZES,
  ),
  *(
    Kernel(function, {**axes, "std": "", "mask": "B"}, gradients=("means",), draws=SIGMAS, sizes=SIZES)
    for function, axes in (
      (step_logprobs, {"next_x": "BD", "means": "BD"}),
      (step_kl, {"means": "BD", "ref_means": "BD"}),
    )
  ),
]
