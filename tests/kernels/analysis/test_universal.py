from __future__ import annotations

import math

import numpy as np

from rl_jax.kernels.analysis import universal
from rl_jax.kernels.pareto.quality import simplex_grid
from tests.kernels.kernel import Kernel, compiled

RNG = np.random.default_rng(0)
PAYOFFS = np.exp(0.3 * RNG.normal(size=(5, 12, 3))).astype(np.float32)
FORMS = (1.0, 4.0, math.inf)
GRID = np.asarray(simplex_grid(3, 6), np.float64)


def _outputs(payoffs):
  found = {eta: universal.universal_combination(payoffs, parts=6, eta=eta) for eta in FORMS}
  return found, universal.buy_and_hold(payoffs)


outputs = compiled(_outputs)


def wealth(payoffs):
  """Log wealth of each combination of the grid after each period [T G], as a loop."""
  logs = [np.zeros(len(GRID))]
  for z in payoffs.astype(np.float64):
    logs.append(logs[-1] + np.log(GRID @ z))
  return np.array(logs)


def test_combinations_against_loops():
  logs = wealth(PAYOFFS[0])
  found, held = outputs(PAYOFFS[0])
  for t in range(12):
    for eta in (1.0, 4.0):
      weights = np.exp(eta * (logs[t] - logs[t].max()))
      np.testing.assert_allclose(found[eta].combinations[t], weights @ GRID / weights.sum(), rtol=1e-5)
    leads = logs[t] >= logs[t].max() - 1e-6
    np.testing.assert_allclose(found[math.inf].combinations[t], GRID[leads].mean(axis=0), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(np.exp(held), PAYOFFS[0].cumprod(axis=0).mean(axis=1), rtol=1e-5)


def test_the_wealth_is_the_mean_over_the_grid_and_loses_at_most_its_size():
  """And so no component is ahead by more: each is a combination of the grid."""
  for payoffs in PAYOFFS:
    logs = wealth(payoffs)[-1]
    found = outputs(payoffs)[0][1.0]
    log_wealth = np.log(found.payoffs).sum()
    np.testing.assert_allclose(np.exp(log_wealth), np.exp(logs).mean(), rtol=1e-4)
    np.testing.assert_allclose(found.best_constant, logs.max(), rtol=1e-4, atol=1e-5)
    assert logs.max() - np.log(len(GRID)) <= log_wealth <= logs.max()
    assert found.best_constant >= np.log(payoffs).sum(axis=0).max() - 1e-5


def test_volatile_components_that_go_nowhere_grow_together():
  """Buying and holding never exceeds the best component; following the leader is worse where leaders alternate."""
  payoffs = np.array([[2.0, 0.5], [0.5, 2.0]] * 6)
  final = lambda eta: compiled(universal.universal_combination, eta=eta)(payoffs).payoffs.prod()
  np.testing.assert_allclose(payoffs.prod(axis=0), 1)
  np.testing.assert_allclose(compiled(universal.buy_and_hold)(payoffs)[-1], 0, atol=1e-6)
  assert final(1.0) > 7 > final(2.0) > final(math.inf)


def test_a_component_that_always_wins_is_caught_up_with():
  payoffs = np.tile(np.array([1.1, 1.0, 0.9], np.float32), (12, 1))
  log_wealth = np.cumsum(np.log(outputs(payoffs)[0][1.0].payoffs))
  gaps = np.log(1.1) * np.arange(1, 13) - log_wealth
  assert (gaps > 0).all() and (np.diff(gaps / np.arange(1, 13)) < 0).all()
  assert np.exp(outputs(payoffs)[1][-1]) < 1.1**12


def test_order_and_scale_of_payoffs():
  payoffs, scale = PAYOFFS[0], RNG.uniform(0.5, 2, 12).astype(np.float32)
  found, held = outputs(payoffs)
  other, other_held = outputs(payoffs[:, ::-1] * scale[:, None])
  for eta in (1.0, 4.0):
    np.testing.assert_allclose(other[eta].combinations, found[eta].combinations[:, ::-1], rtol=1e-4)
    np.testing.assert_allclose(other[eta].payoffs, found[eta].payoffs * scale, rtol=1e-4)
  np.testing.assert_allclose(other_held, held + np.cumsum(np.log(scale)), rtol=1e-4, atol=1e-5)


def test_statistics_and_preferences():
  payoffs = PAYOFFS[0, :, 0]
  found = compiled(universal.wealth_statistics)(payoffs)
  np.testing.assert_allclose(found.growth_rate, np.log(payoffs).mean(), rtol=1e-5)
  np.testing.assert_allclose(found.sharpe, (payoffs - 1).mean() / (payoffs - 1).std(ddof=1), rtol=1e-4)
  assert compiled(universal.wealth_statistics)(np.array([0.3])).sharpe == np.inf
  assert compiled(universal.prefer)(np.array([0.0, 0.0]), np.array([0.0, -1e-9])).tolist() == [0, 1]


POSITIVE = lambda rng, shape: rng.uniform(0.5, 2, shape).astype(np.float32)
DRAWS = {"payoffs": POSITIVE, "price_relatives": POSITIVE}
SIZES = {"P": 5, "A": 3, "N": 4}

KERNELS = [
  Kernel(universal.component_payoffs, {"portfolios": "PAN", "price_relatives": "PN"}, mask=None, sizes=SIZES),
  Kernel(universal.universal_combination, {"payoffs": "PA"}, {"parts": 3}, mask=None, draws=DRAWS, sizes=SIZES),
  Kernel(universal.buy_and_hold, {"payoffs": "PA"}, mask=None, draws=DRAWS, sizes=SIZES),
  Kernel(universal.wealth_statistics, {"payoffs": "P"}, mask=None, draws=DRAWS, sizes=SIZES),
  Kernel(universal.prefer, {"log_wealth": "P", "other_log_wealth": "P"}, mask=None, sizes=SIZES),
]
