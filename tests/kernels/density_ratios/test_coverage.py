from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.density_ratios.coverage import clipped_concentrability, coverability
from rl_jax.kernels.density_ratios.weights import truncated_weights
from tests.kernels.kernel import Kernel

RNG = np.random.default_rng(0)
OCCUPANCIES = RNG.dirichlet(np.full(6, 0.3), size=(4, 2))


def test_worked_example():
  policies, data = jnp.array([[0.5, 0.5, 0, 0], [0.1, 0, 0.6, 0.3]]), jnp.array([0.25, 0.25, 0.5, 0])
  np.testing.assert_allclose(clipped_concentrability(policies, data, jnp.array(3.0)), [2, 1.66], rtol=1e-6)
  np.testing.assert_allclose(coverability(policies[:, None]).coefficient, 1.9, rtol=1e-6)


def test_no_data_covers_better():
  found = coverability(jnp.asarray(OCCUPANCIES))
  np.testing.assert_allclose(found.distribution.sum(axis=1), 1, rtol=1e-6)
  worst = lambda mu: (OCCUPANCIES / mu).max(axis=(0, 2))
  np.testing.assert_allclose(worst(np.asarray(found.distribution)).max(), found.coefficient, rtol=1e-5)
  for _ in range(20):
    other = RNG.dirichlet(np.ones(6), size=2)
    assert worst(other).max() > found.coefficient


def test_alike_and_apart():
  assert coverability(jnp.ones((5, 1, 4)) / 4).coefficient == 1
  assert coverability(jnp.eye(4)[:, None]).coefficient == 4


def test_bounds_of_the_clipped_coefficient():
  """Between 0 and the cap, 1 on a policy's own data; growing with the cap to the sum of d^2 / mu."""
  d, mu = OCCUPANCIES[0, 0], OCCUPANCIES[1, 0]
  clipped = np.array(
    [clipped_concentrability(jnp.asarray(d), jnp.asarray(mu), jnp.array(cap)) for cap in (0.5, 2, 1e9)]
  )
  assert (np.diff(clipped) > 0).all() and (clipped[:2] <= [0.5, 2]).all()
  np.testing.assert_allclose(clipped[2], (d**2 / mu).sum(), rtol=1e-4)
  np.testing.assert_allclose(clipped_concentrability(jnp.asarray(d), jnp.asarray(d), jnp.array(1e9)), 1, rtol=1e-6)
  assert clipped_concentrability(jnp.array([1.0, 0.0]), jnp.array([1.0, 0.0]), jnp.array(jnp.inf)) == 1  # 0 / 0


def test_what_truncation_costs_over_iterations():
  """sum_t E_{d_t}[w_t >= gamma t], w_t = d_t / mean of the earlier d, is at most C log(T) / gamma."""
  gamma, rounds = 0.2, 300
  occupancies = RNG.dirichlet(np.full(20, 0.1), size=5)[RNG.integers(0, 5, rounds)]
  constant = float(coverability(jnp.asarray(occupancies[:, None])).coefficient)
  mass = 0.0
  for t in range(2, rounds + 1):
    d, past = occupancies[t - 1], occupancies[: t - 1].mean(axis=0)
    weights = np.where(past > 0, d / np.maximum(past, 1e-300), np.inf)
    truncated = np.asarray(truncated_weights(jnp.asarray(weights, jnp.float32), jnp.array(gamma * t)))
    mass += d[truncated >= gamma * t].sum()
  assert 0 < mass <= constant * np.log(rounds) / gamma


def test_wrong_shapes_say_what_is_expected():
  with pytest.raises(ValueError, match=r"expected occupancies \[M H X\], got \(2, 3\)"):
    coverability(jnp.ones((2, 3)))


SIZES = {"M": 3, "H": 2, "X": 4}
SHARES = lambda rng, shape: rng.dirichlet(np.ones(shape[-1]), size=shape[:-1]).astype(np.float32)
DRAWS = {name: SHARES for name in ("occupancy", "data", "occupancies")} | {"cap": lambda rng, shape: np.float32(1.5)}

KERNELS = [
  Kernel(clipped_concentrability, {"occupancy": "BX", "data": "X", "cap": ""}, mask=None, draws=DRAWS, sizes=SIZES),
  Kernel(coverability, {"occupancies": "MHX"}, mask=None, draws=DRAWS, sizes=SIZES),
]
