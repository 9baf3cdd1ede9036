from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.flow import times
from tests.kernels.kernel import Kernel

S, T = 0.3, 0.5


def coefficients():
  """x_t = a x_s + noise of variance b, given x_s on the same path."""
  a = (1 - T) / (1 - S)
  return a, T**2 - a**2 * S**2


def test_the_noisy_targets_variance_is_exact_for_gaussian_data():
  """Both targets have one conditional mean (theorem 1), and variances that are kappa apart (theorem 2)."""
  a, b = coefficients()
  for variance in (0.25, 1.0, 4.0):
    of_s, of_t = (1 - S) ** 2 * variance + S**2, (1 - T) ** 2 * variance + T**2
    with_0, with_s = (1 - T) * variance, a * of_s  # covariances of x_t with x_0 and x_s
    means = (-(1 - (1 - T) * with_0 / of_t) / T**2, -(1 - a * with_s / of_t) / b)
    np.testing.assert_allclose(*means, rtol=1e-12)
    clean = ((1 - T) / T**2) ** 2 * (variance - with_0**2 / of_t)
    noisy = (a / b) ** 2 * (of_s - with_s**2 / of_t)
    np.testing.assert_allclose(times.score_variance_gap(jnp.array(S), jnp.array(T)), noisy - clean, rtol=1e-5)


def test_the_same_for_two_points():
  """x_0 is -1 or 1: x_s given x_t is a mixture of two Gaussians."""
  a, b = coefficients()
  for x_t in (0.0, 0.2, -1.3):
    weights = np.exp(-((x_t - (1 - T) * np.array([-1, 1])) ** 2) / (2 * T**2))
    weights /= weights.sum()
    scores = -(x_t - (1 - T) * np.array([-1, 1])) / T**2
    clean = weights @ scores**2 - (weights @ scores) ** 2
    # Given x_0 too, x_s is Gaussian: precisions 1 / S^2 and a^2 / b.
    precision = 1 / S**2 + a**2 / b
    means = ((1 - S) * np.array([-1, 1]) / S**2 + a * x_t / b) / precision
    noisy = (a / b) ** 2 * (1 / precision + weights @ means**2 - (weights @ means) ** 2)
    np.testing.assert_allclose(noisy - clean, 0.9, rtol=1e-10)


def test_the_gap_grows_from_nothing_without_bound():
  gaps = np.asarray(times.score_variance_gap(jnp.array([0.0, 0.2, 0.4, 0.49, 0.4999]), jnp.array(T)))
  assert gaps[0] == 0 and (np.diff(gaps) > 0).all() and gaps[-1] > 1e3


@pytest.mark.parametrize("kind, first", [("discrete", 0), ("discrete_wo_init", 1)])
def test_indices_are_in_strata(kind, first):
  low, high = (times.training_indices(jnp.full(6, u), num_steps=14, kind=kind) for u in (0.0, 0.999))
  assert low[0] == first and high[-1] == 11 and (high >= low).all() and (low[1:] > high[:-1]).all()


def test_times_are_in_strata_and_shifted():
  for kind, ends in (("logit_normal", (0.01, 1)), ("uniform", (3 * 0.2 / 1.4, 1))):
    low, high = (times.training_times(jnp.full(4, u), kind=kind) for u in (0.0, 1.0))
    np.testing.assert_allclose([low[0], high[-1]], ends, rtol=1e-6)
    np.testing.assert_allclose(low[1:], high[:-1], rtol=1e-5)
  plain = times.training_times(jnp.array([0.5]), shift=1.0)
  np.testing.assert_allclose(plain, 0.5, rtol=1e-6)


def test_an_unknown_kind_lists_the_known():
  with pytest.raises(ValueError, match="unknown kind 'cosine'; known: logit_normal, uniform"):
    times.training_times(jnp.ones(1), kind="cosine")
  with pytest.raises(ValueError, match="1 steps times 0.9 are too few for kind 'discrete_wo_init'"):
    times.training_indices(jnp.ones(1), num_steps=1)


UNIFORM = lambda rng, shape: rng.uniform(0.05, 0.45, shape).astype(np.float32)
DRAWS = {"uniforms": UNIFORM, "s": UNIFORM, "t": lambda rng, shape: UNIFORM(rng, shape) + np.float32(0.5)}

KERNELS = [
  Kernel(times.training_indices, {"uniforms": "K"}, {"num_steps": 14}, mask=None, draws=DRAWS),
  Kernel(times.training_times, {"uniforms": "K"}, mask=None, draws=DRAWS),
  Kernel(times.score_variance_gap, {"s": "B", "t": "B"}, mask=None, draws=DRAWS),
]
