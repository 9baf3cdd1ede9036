from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.density_ratios import bellman
from tests.kernels.kernel import Kernel, quick_jit

RNG = np.random.default_rng(0)
RESIDUALS, WEIGHTS = RNG.normal(size=(4, 3, 8)), RNG.exponential(2, size=(2, 3, 8))
MASK = np.array([[1] * 8, [1] * 5 + [0] * 3, [1, 0] * 4])
CAP, PENALTY = jnp.array(2.0), jnp.array(0.1)


def averages(residuals, weights):
  for m, j, h in np.ndindex(4, 2, 3):
    used = MASK[h] != 0
    truncated = np.minimum(weights[j, h, used], 2.0)
    yield m, j, h, (residuals[m, h, used] * truncated).mean(), (truncated**2).mean()


def test_both_statistics_against_loops():
  one_sided, absolute = np.full((4, 2, 3), np.nan), np.full((4, 2, 3), np.nan)
  for m, j, h, error, square in averages(RESIDUALS, WEIGHTS):
    one_sided[m, j, h] = error - 0.1 * square
    absolute[m, j, h] = abs(error) - 0.1 * square
  args = jnp.asarray(RESIDUALS), jnp.asarray(WEIGHTS), jnp.asarray(MASK), CAP, PENALTY
  np.testing.assert_allclose(bellman.glow_statistics(*args), one_sided.max(axis=(1, 2)), rtol=1e-5)
  found = bellman.mabo_cr(*args)
  np.testing.assert_allclose(found.objectives, absolute.sum(axis=2).max(axis=1), rtol=1e-5)
  assert found.chosen == absolute.sum(axis=2).max(axis=1).argmin()


def test_the_schedule_of_the_theory():
  options = dict(slope=0.05, horizon=3, iterations=200, rollouts=400, value_functions=4, weight_functions=3)
  schedule = bellman.glow_schedule(jnp.array([1, 9]), **options)
  np.testing.assert_allclose(schedule.cap * schedule.penalty, 8, rtol=1e-6)
  np.testing.assert_allclose(schedule.threshold, [np.inf, 36 * 0.45 / 3200 * np.log(6 * 12 * 600 / 0.1)], rtol=1e-5)


def chain():
  """A walk of 3 layers over 4 states with two actions, its optimal values, and 20 functions that are wrong."""
  layers, states = 3, 4
  moves = RNG.integers(0, states, (layers, states, 2))
  rewards = RNG.random((layers, states, 2)) / layers
  optimal = np.zeros((layers + 1, states, 2))
  for h in reversed(range(layers)):
    optimal[h] = rewards[h] + optimal[h + 1].max(axis=-1)[moves[h]]
  return moves, rewards, np.concatenate([optimal[None], optimal + RNG.random((20, layers + 1, states, 2))])


def test_the_optimal_function_is_never_excluded():
  """Deterministic, so that its residuals are 0: whatever data, weights and iteration."""
  moves, rewards, functions = chain()
  functions[:, -1] = 0
  layer, states, actions = np.arange(3)[:, None], RNG.integers(0, 4, (3, 30)), RNG.integers(0, 2, (3, 30))
  after = moves[layer, states, actions]
  values = functions[:, layer, states, actions]
  following = functions[:, 1:].max(axis=-1)[:, layer, after]
  weights = RNG.exponential(size=(5, 3, 30))
  weights[0, 0, 0] = np.inf

  @quick_jit
  def space(iteration):
    every = jnp.ones((3, 30))
    residuals = bellman.bellman_residuals(values, following, jnp.asarray(rewards[layer, states, actions]), every)
    options = dict(slope=0.5, horizon=3, iterations=200, value_functions=21, weight_functions=5)
    schedule = bellman.glow_schedule(iteration, penalty_scale=0.1, threshold_scale=1e-3, **options)
    statistics = bellman.glow_statistics(residuals, weights, every, schedule.cap, schedule.penalty)
    return bellman.version_space(statistics, jnp.asarray(functions[:, 0, 0].max(axis=-1)), schedule.threshold)

  sizes = []
  for iteration in (1, 2, 20, 200):
    members, chosen = space(jnp.array(iteration))
    assert members[0] and functions[chosen, 0, 0].max() >= functions[0, 0, 0].max()  # optimism
    sizes.append(int(members.sum()))
  assert sizes[0] == 21 and sizes[-1] < 5, sizes


def test_no_function_is_left():
  assert bellman.version_space(jnp.ones(2), jnp.ones(2), jnp.array(0.5)).chosen == -1


def test_wrong_shapes_say_what_is_expected():
  with pytest.raises(ValueError, match=r"residuals \[M H N\], weights \[J H N\] and mask \[H N\]"):
    bellman.glow_statistics(jnp.ones((4, 3, 8)), jnp.ones((2, 3, 7)), jnp.ones((3, 8)), CAP, PENALTY)


SIZES = {"M": 3, "J": 2, "H": 2, "N": 5}
POSITIVE = lambda rng, shape: rng.uniform(0.1, 3, shape).astype(np.float32)
DRAWS = {"weights": POSITIVE, "cap": POSITIVE, "penalty": POSITIVE, "iteration": POSITIVE}
SCHEDULE = dict(slope=0.5, horizon=3, iterations=200, value_functions=4, weight_functions=3)
AVERAGED = {"residuals": "MHN", "weights": "JHN", "mask": "HN", "cap": "", "penalty": ""}
COVERS = {"residuals": "", "weights": ""}

KERNELS = [
  Kernel(bellman.glow_schedule, {"iteration": "B"}, SCHEDULE, mask=None, draws=DRAWS),
  Kernel(
    bellman.bellman_residuals,
    {"values": "MHN", "next_values": "MHN", "rewards": "HN", "mask": "HN"},
    covers={"values": "", "next_values": ""},
    sizes=SIZES,
  ),
  *(
    Kernel(function, AVERAGED, covers=COVERS, zero_masked=False, draws=DRAWS, sizes=SIZES)
    for function in (bellman.glow_statistics, bellman.mabo_cr)
  ),
  Kernel(
    bellman.version_space,
    {"statistics": "M", "initial_values": "M", "threshold": ""},
    mask=None,
    draws=DRAWS,
    sizes=SIZES,
  ),
]
