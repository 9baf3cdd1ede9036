from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.layers import leverage
from rl_jax.kernels.layers.leverage import FITTED, LeverageLaw, efficiency_leverage
from tests.kernels.kernel import Kernel, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
ACTIVATION, GRANULARITY = np.array([0.01, 0.03, 0.2, 1.0]), np.array([2.0, 8.0, 12.0, 16.0])
COMPUTE = np.array([1e18, 1e19, 1e20, 1e22])


def levels(activation, granularity, compute, *law):
  args = (jnp.asarray(x, jnp.float32) for x in (activation, granularity, compute))
  return efficiency_leverage(*args, *law)


def test_the_papers_claims():
  assert levels(0.031, 12.0, 1e22) > 7 and 8 < FITTED.best_granularity < 12
  np.testing.assert_allclose(levels(1.0, 2.0, 1e20), 0.994, atol=1e-3)
  # Ling-mini-beta: 0.855B active of 17.5B, as good as a dense model of 6.1B.
  np.testing.assert_allclose(levels(0.034, 12.0, 1e22) * 0.855, 6.1, rtol=0.05)


def test_leverage_grows_with_sparsity_and_compute_and_peaks_in_granularity():
  assert (np.diff(levels(np.linspace(0.01, 1, 50), 8.0, 1e20)) < 0).all()
  assert (np.diff(levels(0.03, 8.0, np.logspace(18, 22, 20))) > 0).all()
  fineness = np.linspace(2, 64, 500)
  np.testing.assert_allclose(fineness[levels(0.03, fineness, 1e20).argmax()], FITTED.best_granularity, atol=0.2)


def test_coefficients_are_recovered_from_noisy_levels():
  """log EL / log Ahat is linear in them: least squares on 1 % of noise."""
  activation, granularity = RNG.uniform(0.008, 0.5, 2000), RNG.uniform(2, 16, 2000)
  compute = 10 ** RNG.uniform(18, 20.8, 2000)
  measured = np.log(levels(activation, granularity, compute)) + 0.01 * RNG.normal(size=2000)
  base = np.log(levels(activation, granularity, compute, LeverageLaw(1.0, 0.0, 0.0, 0.0)))
  fineness = np.log2(granularity)
  design = np.stack([np.ones(2000), np.log10(compute), fineness**2, fineness], axis=1)
  found = np.linalg.lstsq(base[:, None] * design, measured, rcond=None)[0]
  np.testing.assert_allclose(found, FITTED[:4], rtol=0.1)


def test_the_gradient_of_a_fit_against_loops():
  measured, args = np.array([6.0, 4.0, 2.0, 0.9]), (ACTIVATION, GRANULARITY, COMPUTE)

  def reference(law):
    a, d, gamma, beta = law
    fineness = np.log2(GRANULARITY)
    exponent = a + d * np.log10(COMPUTE) + gamma * fineness**2 + beta * fineness
    saturated = ACTIVATION + 1 / (1 / FITTED.start - 1 / FITTED.largest)
    apart = np.abs(exponent * np.log(1 / (1 / saturated + 1 / FITTED.largest)) - np.log(measured))
    return np.where(apart <= 0.1, apart**2 / 2, 0.1 * (apart - 0.05)).sum()

  def loss(law):
    predicted = efficiency_leverage(*(jnp.asarray(x) for x in args), LeverageLaw(*law))
    return leverage.leverage_fit(predicted, jnp.asarray(measured), jnp.ones(4), delta=0.1).sum()

  law = np.array(FITTED[:4])
  with jax.enable_x64(True):
    value, gradient = quick_jit(jax.value_and_grad(loss))(law)
  np.testing.assert_allclose(value, reference(law), rtol=1e-10)
  np.testing.assert_allclose(gradient, finite_difference(reference, law), rtol=1e-5, atol=1e-7)


def test_equivalent_compute_inverts_the_law_of_a_loss():
  loss = 25.0 * 1e20**-0.055
  np.testing.assert_allclose(leverage.equivalent_compute(jnp.array(loss), 25.0, 0.055), 1e20, rtol=1e-3)


def test_allocations_and_the_papers_run():
  for family in ("moe", "dense"):
    share = leverage.compute_allocation(jnp.array(1e20), family=family)
    np.testing.assert_allclose(share.flops_per_token * share.tokens, 1e20, rtol=2e-2)
  # 1792 texts of 8192 tokens and a rate of 3.78e-4 belong to one C, about 6.5e22.
  run = leverage.moe_hyperparameters(jnp.array(6.5e22))
  np.testing.assert_allclose([run.batch_tokens, run.learning_rate], [1792 * 8192, 3.78e-4], rtol=0.05)


def test_ratios_of_a_layer():
  assert leverage.expert_shape(256, 8, 1, 2048, 512) == (9 / 257, 1 / 9, 8.0)
  assert leverage.expert_shape(1, 1, 0, 64, 128).activation == 1


def test_wrong_calls_say_what_to_do():
  with pytest.raises(ValueError, match="granularity must be above 0, got 0.0"):
    levels(0.1, 0.0, 1e20)
  with pytest.raises(ValueError, match="expected 0 < active <= routable"):
    leverage.expert_shape(8, 9, 0, 64, 64)


POSITIVE = lambda rng, shape: rng.uniform(0.5, 3, shape).astype(np.float32)
NAMES = ("activation", "granularity", "compute", "loss", "predicted", "measured")
DRAWS = {name: POSITIVE for name in NAMES}
COVERS = {"predicted": "mask", "measured": "mask"}


def _kernel(function, axes, options=None, **fields):
  return Kernel(function, axes, options or {}, draws=DRAWS, **fields)


def _equivalent(loss):
  return leverage.equivalent_compute(loss, 3.0, 0.5)


KERNELS = [
  _kernel(efficiency_leverage, {"activation": "B", "granularity": "B", "compute": "B"}, mask=None),
  _kernel(_equivalent, {"loss": "B"}, mask=None, public=leverage.equivalent_compute),
  _kernel(leverage.leverage_fit, {"predicted": "B", "measured": "B", "mask": "B"}),
  _kernel(leverage.compute_allocation, {"compute": "B"}, mask=None),
  _kernel(leverage.moe_hyperparameters, {"compute": "B"}, mask=None),
]
