from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.layers import routing
from tests.kernels.kernel import Kernel, quick_jit

RNG = np.random.default_rng(0)
QUALITY = RNG.normal(size=8)
EQUILIBRIUM = quick_jit(routing.congestion_equilibrium)


def equilibrium(quality, gamma, shares=(1.0,)):
  with jax.enable_x64(True):
    return np.asarray(EQUILIBRIUM(np.atleast_2d(quality), np.array(shares), np.array(gamma)))


def test_loads_and_qualities_of_hand():
  ids, mask = jnp.array([[0, 1], [0, 2], [1, 1]]), jnp.array([1, 1, 0])
  np.testing.assert_array_equal(routing.expert_loads(ids, mask, num_experts=4), [0.5, 0.25, 0.25, 0])
  logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.125, 0.375, 0.5], [1.0, 1.0, 1.0]]))
  quality = lambda name: routing.expert_quality(logits, ids, mask, estimator=name)
  means = np.log([0.5 * 0.125, 0.25 * 0.375, 0.25 * 0.5]) / 2
  np.testing.assert_allclose(quality("log_probability"), means - means.mean(), atol=1e-6)
  np.testing.assert_allclose(quality("logit"), quality("log_probability"), atol=1e-6)  # these sum to 1
  selected = np.array([(0.5 + 0.125) / 2, 0.25, 0.5])
  np.testing.assert_allclose(quality("probability_when_selected"), selected - selected.mean(), atol=1e-6)


def test_no_token_is_uniform():
  np.testing.assert_array_equal(routing.expert_loads(jnp.array([[0]]), jnp.zeros(1), num_experts=2), [0.5, 0.5])


@pytest.mark.parametrize("gamma", [0.0, 3.0, 40.0])
def test_the_coefficient_recovers_a_planted_price(gamma):
  loads = equilibrium(QUALITY, gamma)
  logits = QUALITY - gamma * loads
  np.testing.assert_allclose(loads, np.exp(logits) / np.exp(logits).sum(), atol=1e-14)
  with jax.enable_x64(True):
    np.testing.assert_allclose(routing.congestion_coefficient(QUALITY, loads), gamma, atol=1e-9)


def test_the_equilibrium_is_the_maximum_of_the_potential():
  potential = lambda m: QUALITY @ m - 3.0 / 2 * (m @ m) - (m * np.log(m)).sum()
  loads = equilibrium(QUALITY, 3.0)
  for direction in RNG.normal(size=(5, 8)):
    assert potential(loads) > potential(loads + 1e-3 * (direction - direction.mean()))


def test_a_small_difference_in_quality_is_a_temperature():
  quality = 1e-4 * (QUALITY - QUALITY.mean())
  first_order = 1 / 8 + quality / (8 + 14)  # softmax(q / T) with T = 1 + 14 / 8, to first order
  np.testing.assert_allclose(equilibrium(quality, 14.0), first_order, atol=1e-9)


def test_types_of_tokens():
  same, shares = np.stack([QUALITY, QUALITY]), (0.3, 0.7)
  np.testing.assert_allclose(equilibrium(same, 5.0, shares), equilibrium(QUALITY, 5.0), atol=1e-14)
  # Loads that two types make are predicted better by two types than by their mean.
  types = np.stack([QUALITY, RNG.normal(size=8)])
  loads, single = equilibrium(types, 5.0, shares), equilibrium(shares @ types, 5.0)
  temperature = quick_jit(routing.routing_temperature)(jnp.asarray(shares @ types), jnp.asarray(loads))
  assert np.abs(single - loads).sum() > 0.01 and temperature.distance > 0.01


def test_loads_more_skewed_than_the_softmax_are_negative():
  assert routing.congestion_coefficient(jnp.array([2.0, 0, -1, -1]), jnp.array([0.97, 0.01, 0.01, 0.01])) < 0


def test_uniform_loads():
  uniform = jnp.full(4, 0.25)
  assert routing.congestion_coefficient(jnp.ones(4), uniform) == 0
  assert routing.congestion_coefficient(jnp.arange(4.0), uniform) == np.inf
  assert routing.load_balance(jnp.ones(1)) == (1, 0, 1)


def test_the_interval_is_that_of_resampled_means():
  quality, loads = RNG.normal(size=(5, 8)), RNG.dirichlet(np.ones(8), size=5)
  draws = RNG.integers(0, 5, (40, 5))
  mean_quality, mean_loads = quality[draws].mean(axis=1), loads[draws].mean(axis=1)
  gammas = [np.cov(m, q - np.log(m))[0, 1] / m.var(ddof=1) for q, m in zip(mean_quality, mean_loads, strict=True)]
  interval = routing.congestion_interval(jnp.asarray(quality), jnp.asarray(loads), jnp.asarray(draws))
  np.testing.assert_allclose(interval, np.percentile(gammas, [2.5, 97.5]), rtol=1e-4)


def test_the_papers_run_has_three_phases():
  phases = routing.congestion_phases(jnp.array([[14.0, 25.0, 36.0, 39.0, 38.0, 33.0, 27.0, 9.0]]))
  np.testing.assert_array_equal(phases, [[1, 0, 0, 0, 1, 1, 2, 2]])


def test_wrong_calls_say_what_to_do():
  with pytest.raises(ValueError, match=r"expected expert_ids \[B K\] and mask \[B\]"):
    routing.expert_loads(jnp.zeros(3, int), jnp.ones(3), num_experts=2)
  with pytest.raises(ValueError, match=r"and an expert, got \(2, 1\), \(2,\) and 0"):
    routing.expert_loads(jnp.zeros((2, 1), int), jnp.ones(2), num_experts=0)
  with pytest.raises(ValueError, match=r"expert_ids \[B K\], mask \[B\], got \(2, 2\), \(2,\), \(2,\)"):
    routing.expert_quality(jnp.ones((2, 2)), jnp.zeros(2, int), jnp.ones(2))
  with pytest.raises(ValueError, match="unknown estimator 'votes'"):
    routing.expert_quality(jnp.ones((1, 2)), jnp.zeros((1, 1), int), jnp.ones(1), estimator="votes")


SIZES = {"E": 4, "J": 2, "N": 3, "R": 5}
DRAWS = {
  "expert_ids": lambda rng, shape: rng.integers(0, 4, shape).astype(np.int32),
  "loads": lambda rng, shape: rng.dirichlet(np.ones(4), size=shape[:-1]).astype(np.float32),
  "shares": lambda rng, shape: rng.dirichlet(np.ones(2)).astype(np.float32),
  "gamma": lambda rng, shape: np.float32(3.0),
  "draws": lambda rng, shape: rng.integers(0, 3, shape).astype(np.int32),
}


def _kernel(function, axes, options=None, **fields):
  return Kernel(function, axes, options or {}, draws=DRAWS, sizes=SIZES, **fields)


KERNELS = [
  _kernel(
    routing.expert_loads,
    {"expert_ids": "BK", "mask": "B"},
    {"num_experts": 4},
    scope="batch",
    zero_masked=False,  # uniform
  ),
  _kernel(routing.expert_quality, {"router_logits": "BE", "expert_ids": "BK", "mask": "B"}, scope="batch"),
  _kernel(routing.load_balance, {"loads": "BE"}, mask=None),
  _kernel(routing.congestion_equilibrium, {"quality": "JE", "shares": "J", "gamma": ""}, mask=None),
  _kernel(routing.congestion_coefficient, {"quality": "BE", "loads": "BE"}, mask=None),
  _kernel(routing.routing_temperature, {"quality": "E", "loads": "E"}, mask=None),
  _kernel(routing.congestion_interval, {"quality": "NE", "loads": "NE", "draws": "RN"}, mask=None),
  _kernel(routing.congestion_phases, {"gammas": "BT"}, mask=None),
]
