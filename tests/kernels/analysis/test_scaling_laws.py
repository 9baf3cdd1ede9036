from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.optimize import minimize

from rl_jax.kernels.analysis import scaling_laws
from rl_jax.kernels.analysis.scaling_laws import LossLaw, ScoreLaw
from tests.kernels.kernel import Kernel, compiled, quick_jit

LOSS_LAW = LossLaw(a=9.0, alpha=0.18, b=400.0, beta=0.35)
SCORE_LAW = ScoreLaw(c=0.75, gamma=-14.0, midpoint=0.3, d=0.25)


def test_a_reference_model_with_the_tokens_asked_for_has_density_one():
  """More tokens than those lift it, fewer lower it; density goes with score and against size."""
  sizes = jnp.array([1e7, 1e8, 1e9])

  @quick_jit
  def densities(tokens):
    scores = scaling_laws.score_from_loss(scaling_laws.scaling_loss(sizes, tokens, LOSS_LAW), SCORE_LAW)
    return scores, scaling_laws.capability_density(scores, sizes, LOSS_LAW, SCORE_LAW, num_tokens=1e12)

  scores, found = densities(1e12)
  np.testing.assert_allclose(found.densities, 1, rtol=1e-4)
  assert (np.diff(scores) > 0).all()
  assert (densities(1e13)[1].densities > 1).all() and (densities(1e11)[1].densities < 1).all()
  halves = compiled(_density)(scores, 2 * sizes)
  np.testing.assert_allclose(halves.densities, 0.5, rtol=1e-4)


def test_scores_that_no_reference_model_has():
  scores, few_tokens = np.array([0.25, 0.2, 1.0, 1.1, 0.9999]), LOSS_LAW._replace(b=8000.0)
  density = lambda scores, sizes: scaling_laws.capability_density(scores, sizes, few_tokens, SCORE_LAW)
  found = compiled(density)(scores, np.ones(5))
  assert np.isnan(np.stack(found)[:, :4]).all()
  assert np.isfinite(found.losses[4]) and np.isinf(found.effective_params[4]) and np.isinf(found.densities[4])


def test_the_laws_are_found_again_by_a_solver_of_jax():
  with jax.enable_x64(True):
    sizes, tokens = (x.ravel() for x in jnp.meshgrid(jnp.geomspace(5e6, 8e8, 6), jnp.geomspace(1e8, 4e10, 5)))
    losses = scaling_laws.scaling_loss(sizes, tokens, LOSS_LAW)

    def error(x):
      law = LossLaw(*jnp.exp(x))
      return jnp.square(jnp.log(scaling_laws.scaling_loss(sizes, tokens, law) / losses)).mean()

    start = jnp.log(jnp.array([12.0, 0.2, 300.0, 0.33]))
    found = quick_jit(lambda start: minimize(error, start, method="BFGS", tol=1e-14).x)(start)
  np.testing.assert_allclose(np.exp(found), LOSS_LAW, rtol=1e-2)


def test_the_trend_against_numpy_and_under_other_units():
  rng = np.random.default_rng(0)
  times, mask = rng.permutation(9) * 30.0, np.arange(9) != 4
  densities = np.exp(0.01 * times + 0.3 * rng.normal(size=9))
  trend = compiled(scaling_laws.density_trend)(times, densities, mask)
  records = [
    mask[i] and all(densities[i] > densities[j] for j in range(9) if mask[j] and times[j] < times[i]) for i in range(9)
  ]
  assert trend.records.tolist() == records
  slope, intercept = np.polyfit(times[records], np.log(densities[records]), 1)
  np.testing.assert_allclose([trend.slope, trend.intercept], [slope, intercept], rtol=1e-4)
  np.testing.assert_allclose(trend.r2, np.corrcoef(times[records], np.log(densities[records]))[0, 1] ** 2, rtol=1e-4)
  doubled = compiled(scaling_laws.density_trend)(times / 7, 5 * densities, mask)
  np.testing.assert_allclose(doubled.doubling_time, trend.doubling_time / 7, rtol=1e-4)


@pytest.mark.parametrize(
  ("times", "densities", "mask", "records"),
  [
    ([0, 1, 2], [2.0, 1.0, 0.5], [1, 1, 1], [True, False, False]),
    ([3, 3, 3], [1.0, 2.0, 2.0], [1, 1, 1], [False, True, False]),
    ([0, 1, 2], [np.nan, 1.0, np.inf], [0, 1, 0], [False, True, False]),
    ([0, 1, 2], [1.0, 2.0, 4.0], [0, 0, 0], [False] * 3),
  ],
)
def test_without_two_records_there_is_no_trend(times, densities, mask, records):
  trend = compiled(scaling_laws.density_trend)(*map(np.array, (times, densities, mask)))
  assert trend.records.tolist() == records and np.isnan(trend[:3]).all()


def test_rates_add_and_the_slower_of_two_changes_little():
  np.testing.assert_allclose(scaling_laws.combined_doubling_time(100.0, 766.5), 88.459319, rtol=1e-6)
  np.testing.assert_allclose(scaling_laws.combined_doubling_time(100.0, np.inf), 100)


SCORES = lambda rng, shape: rng.uniform(0.3, 0.9, shape).astype(np.float32)
SIZES = lambda rng, shape: rng.uniform(1e7, 1e9, shape).astype(np.float32)


def _loss(num_params):
  return scaling_laws.scaling_loss(num_params, 1e12, LOSS_LAW)


def _score(losses):
  return scaling_laws.score_from_loss(losses, SCORE_LAW)


def _density(scores, num_params):
  return scaling_laws.capability_density(scores, num_params, LOSS_LAW, SCORE_LAW)


def _trend(times, densities, mask):
  """Of records alone, on days that differ."""
  return scaling_laws.density_trend(times + jnp.arange(times.size), jnp.sort(densities), mask)


DRAWS = {
  "scores": SCORES,
  "num_params": SIZES,
  "losses": SCORES,
  "densities": SCORES,
  "times": lambda rng, shape: np.zeros(shape, np.float32),
}

KERNELS = [
  Kernel(_loss, {"num_params": "K"}, mask=None, draws=DRAWS, public=scaling_laws.scaling_loss),
  Kernel(_score, {"losses": "K"}, mask=None, draws=DRAWS, public=scaling_laws.score_from_loss),
  Kernel(_density, {"scores": "K", "num_params": "K"}, mask=None, draws=DRAWS, public=scaling_laws.capability_density),
  Kernel(
    _trend,
    {"times": "N", "densities": "N", "mask": "N"},
    mask=None,  # nan without records; tested above
    draws=DRAWS | {"mask": lambda rng, shape: np.ones(shape, bool)},
    sizes={"N": 4},
    public=scaling_laws.density_trend,
  ),
  Kernel(
    scaling_laws.combined_doubling_time,
    {"first": "", "second": ""},
    mask=None,
    draws={"first": SCORES, "second": SCORES},
  ),
]
