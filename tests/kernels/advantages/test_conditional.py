from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages import conditional
from rl_jax.kernels.advantages.group import dr_grpo
from tests.kernels.kernel import Kernel

IDS, SCORED = jnp.full(6, 5), jnp.ones(6, bool)
REWARDS, LENGTHS = jnp.array([1.0, 1.0, 0.0, 1.0, 1.0, 0.0]), jnp.array([30, 12, 50, 41, 8, 19])


def test_a_weight_on_the_long_half():
  result = conditional.canon(REWARDS, LENGTHS, IDS, SCORED, mu=0.5, alpha=0.9, divisor=64.0)
  expected = [0.004427083, 0.005729167, -0.010416667, 0.004427083, 0.005729167, -0.009895833]
  np.testing.assert_allclose(result.advantages, expected, atol=1e-8)
  np.testing.assert_array_equal(result.upper, [True, False, True, True, False, False])


def test_a_weight_on_the_low_half():
  rewards, entropy = jnp.array([1.0, 0.0, 1.0, 0.0]), jnp.array([0.3, 0.1, 0.2, 0.4])
  result = conditional.canon(
    rewards, entropy, jnp.zeros(4, jnp.int32), jnp.ones(4, bool), mu=1.0, alpha=0.8, weighted="lower", beta=0.05
  )
  np.testing.assert_allclose(result.advantages, [0.65, -0.55, 0.25, -0.35], rtol=1e-6)


def test_halves_of_ties_odd_groups_and_unscored_rows():
  metric, ids = jnp.array([5.0, 5.0, 5.0, 5.0, 1.0, 9.0, 2.0]), jnp.array([4, 4, 4, 4, 8, 8, 8])
  every = conditional.upper_half(metric, ids, jnp.ones(7, bool))
  np.testing.assert_array_equal(every, [False, False, True, True, False, True, True])
  # Rows that are not scored neither take a place nor shift the median, whatever they hold.
  scored = jnp.array([False, True, True, True, True, False, True])
  spoiled = metric.at[0].set(jnp.nan).at[5].set(-jnp.inf)
  expected = [False, False, True, True, False, False, True]
  np.testing.assert_array_equal(conditional.upper_half(spoiled, ids, scored), expected)


def test_equal_halves_and_equal_parts_are_dr_grpo():
  rewards, metric = np.random.default_rng(0).normal(size=(2, 6))
  ids = jnp.array([3, 9, 9, 3, 9, 9])
  result = conditional.canon(jnp.array(rewards), jnp.array(metric), ids, SCORED, mu=0.5)
  np.testing.assert_allclose(result.advantages, dr_grpo(jnp.array(rewards), ids, SCORED), atol=1e-6)
  odd = conditional.canon(jnp.array(rewards), jnp.array(metric), ids, SCORED.at[0].set(False), mu=0.5)
  assert odd.advantages[3] == pytest.approx(rewards[3], rel=1e-6)  # left alone in its group
  assert odd.advantages[0] == 0


def test_constant_groups_and_groups_of_one():
  same = jnp.full(6, 0.1)
  result = conditional.canon(same, LENGTHS, IDS, SCORED, mu=0.3)
  assert not result.advantages.any() and not result.inter.any() and not result.intra.any()
  # The pressure on the length that is left where all are correct.
  pressed = conditional.canon(jnp.ones(6), LENGTHS, IDS, SCORED, mu=0.5, alpha=0.9).advantages
  np.testing.assert_allclose(pressed, jnp.where(result.upper, -0.05, 0.05), atol=1e-7)

  alone = jnp.array([0.7]), jnp.array([3.0]), jnp.array([9]), jnp.ones(1, bool)
  raw = conditional.canon(*alone, mu=1.0, alpha=0.5)
  np.testing.assert_allclose([raw.inter[0], raw.intra[0]], [0.35, 0.7], rtol=1e-6)
  zero = conditional.canon(*alone, mu=1.0, alpha=0.5, beta=0.2, singleton="zero")
  assert not zero.advantages.any() and not zero.inter.any()


def test_schedules():
  steps = jnp.array([0, 29, 30, 50, 70, 110, 150])
  inter = conditional.mixing_by_cosine(steps)
  np.testing.assert_allclose(inter, [1 / 30, 1, 1, 0.7, 1, 1, 1], rtol=1e-5)
  intra = conditional.mixing_by_cosine(steps, first="intra")
  np.testing.assert_allclose(intra, [0.98, 0.4, 0.4, 0.7, 0.4, 0.4, 0.4], rtol=1e-5)
  # Half a cosine over the two steps of each cycle, without a warmup.
  short = conditional.mixing_by_cosine(jnp.arange(4), total=4, warmup=0, cycles=2, highest=0.8, lowest=0.0)
  np.testing.assert_allclose(short, [0.8, 0.4, 0.8, 0.4], rtol=1e-6)


def test_entropy_of_an_empty_response():
  entropies = jnp.array([[2.0, jnp.nan], [jnp.nan, jnp.inf]])
  np.testing.assert_allclose(conditional.mean_entropy(entropies, jnp.array([[1, 0], [0, 0]])), [2.0, 0.0])


def test_errors():
  args = REWARDS, LENGTHS, IDS, SCORED
  with pytest.raises(ValueError, match="canon: unknown weighted 'long'; known: upper, lower"):
    conditional.canon(*args, mu=0.5, weighted="long")
  with pytest.raises(ValueError, match=r"canon: expected arrays of one shape \[B\]"):
    conditional.canon(REWARDS, LENGTHS[:, None], IDS, SCORED, mu=0.5)
  with pytest.raises(ValueError, match="a step for each cycle after the warmup, got total 30, warmup 30, cycles 3"):
    conditional.mixing_by_cosine(jnp.array(0), total=30)


HALVES = {"metric": "B", "group_ids": "B", "mask": "B"}
# Without ties, which the order of the rows decides.
DRAWS = {"metric": lambda rng, shape: rng.normal(size=shape).astype("float32")}

KERNELS = [
  Kernel(conditional.mean_entropy, {"entropies": "BT", "mask": "BT"}),
  Kernel(conditional.upper_half, HALVES, scope="group", draws=DRAWS),
  Kernel(conditional.canon, {"rewards": "B", **HALVES, "mu": ""}, scope="group", draws=DRAWS),
  Kernel(
    conditional.canon,
    {"rewards": "B", **HALVES},
    {"mu": 0.5, "alpha": 0.8, "weighted": "lower", "beta": 0.05, "singleton": "zero"},
    scope="group",
    draws=DRAWS,
  ),
  Kernel(conditional.mixing_by_accuracy, {"accuracy": ""}, mask=None),
  Kernel(
    conditional.mixing_by_cosine,
    {"step": ""},
    mask=None,
    draws={"step": lambda rng, shape: rng.integers(0, 150, shape).astype("int32")},
  ),
]
