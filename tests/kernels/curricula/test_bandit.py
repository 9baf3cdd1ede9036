from __future__ import annotations

from collections import deque
from functools import wraps

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.curricula.bandit import (
  Bandit,
  learnability,
  source_probabilities,
  update_bandit,
  upper_confidence_bounds,
)
from tests.kernels.kernel import Kernel

EVERY = jnp.ones(3, bool)


def test_worked_example():
  advantages = 0.866023904 * jnp.array([1.0, -1, -1, 1, 0, 0, 0, 0])
  bandit = update_bandit(Bandit.empty(3), advantages, jnp.array([0] * 4 + [1] * 4), jnp.ones(8, bool))
  np.testing.assert_array_equal(bandit.counts, [4, 4, 0])
  np.testing.assert_allclose(learnability(bandit), [0.866023904, 0, 0], rtol=1e-6)
  np.testing.assert_allclose(upper_confidence_bounds(bandit), [1.803515147, 0.937491243, 2.096294148], rtol=1e-6)
  np.testing.assert_allclose(source_probabilities(bandit, EVERY), [0.050796330, 0.000008805181, 0.949194865], rtol=1e-5)


def test_windows_are_those_of_a_queue():
  rng = np.random.default_rng(0)
  bandit, queues, counts = Bandit.empty(3, window=5), [deque(maxlen=5) for _ in range(3)], np.zeros(3)
  for size in (4, 17, 1, 9, 30):
    advantages, ids = rng.normal(size=size), rng.integers(-1, 4, size)
    scored = rng.random(size) < 0.8
    bandit = update_bandit(bandit, jnp.where(scored, advantages, jnp.nan), jnp.asarray(ids), jnp.asarray(scored))
    for a, j in zip(advantages[scored], ids[scored], strict=True):
      if 0 <= j < 3:
        queues[j].append(abs(a))
        counts[j] += 1
    np.testing.assert_array_equal(bandit.counts, counts)
    np.testing.assert_allclose(learnability(bandit), [np.mean(q) if q else 0 for q in queues], rtol=1e-5)


def test_temperature_zero_takes_the_first_of_the_largest():
  bandit = Bandit(jnp.array([[1.0], [2.0], [2.0]]), jnp.array([3, 3, 3]))
  np.testing.assert_array_equal(source_probabilities(bandit, EVERY, tau=0), [0, 1, 0])
  np.testing.assert_array_equal(source_probabilities(bandit, jnp.array([1, 0, 1]), tau=0), [0, 0, 1])
  np.testing.assert_allclose(source_probabilities(bandit, EVERY, tau=1e-4), [0, 0.5, 0.5])
  with pytest.raises(ValueError, match="expected tau >= 0"):
    source_probabilities(bandit, EVERY, tau=-1.0)


@pytest.mark.parametrize("tau", [0, 0.1])
def test_uniform_before_the_first_response(tau):
  exists = jnp.array([True, False, True])
  np.testing.assert_allclose(source_probabilities(Bandit.empty(3), exists, tau=tau), [0.5, 0, 0.5])


def test_without_exploration_sources_that_pay_nothing_are_equal():
  bandit = Bandit(jnp.array([[0.0], [0.0], [1.0]]), jnp.array([900, 0, 3]))
  p = source_probabilities(bandit, EVERY, exploration=0.0)
  assert p[0] == p[1] and p[2] > 0.99


STATE = {"windows": "NW", "counts": "N"}
BATCH = {"advantages": "B", "source_ids": "B", "mask": "B"}
DRAWS = {
  "windows": lambda rng, shape: rng.random(shape).astype("float32"),
  "counts": lambda rng, shape: rng.integers(0, 9, shape).astype("int32"),
  "source_ids": lambda rng, shape: rng.integers(-1, 3, shape).astype("int32"),
}
SIZES = {"N": 3, "W": 2}


def _on_arrays(function):
  @wraps(function)
  def call(windows, counts, **arrays):
    return function(Bandit(windows, counts), **arrays)

  return call


def _kernel(function, axes, options=None, **properties):
  return Kernel(
    _on_arrays(function),
    STATE | axes,
    options or {},
    scope="batch",
    public=function,
    draws=DRAWS,
    sizes=SIZES,
    **properties,
  )


KERNELS = [
  _kernel(update_bandit, BATCH, ordered=True, zero_masked=False),
  _kernel(learnability, {}, mask=None),
  _kernel(upper_confidence_bounds, {}, mask=None),
  _kernel(source_probabilities, {"mask": "N"}),
  _kernel(source_probabilities, {"mask": "N"}, {"tau": 0}),
]
