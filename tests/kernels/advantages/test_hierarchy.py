from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages import hierarchy
from rl_jax.kernels.advantages.returns import gae
from rl_jax.kernels.scans import discounted_sums
from tests.kernels.kernel import Kernel

REWARDS, SWITCH = jnp.array([[0, 0, 0, 0, 1.0]]), jnp.array([[1, 0, 1, 0, 0]])
LOW, HIGH = jnp.array([[0.3, 0.4, 0.5, 0.6, 0.8]]), jnp.array([[0.25, 9.0, 0.55, 9.0, 9.0]])
ENDED, CUT, TURNS = jnp.array([True]), jnp.array([False]), jnp.ones((1, 5))
OPTIONS = dict(discount=0.9, lam_turn=0.95)


def check(actual, expected):
  np.testing.assert_allclose(actual, [expected], rtol=1e-5, atol=1e-7)


def test_an_episode_that_ended():
  two = hierarchy.hae(REWARDS, SWITCH, ENDED, LOW, HIGH, TURNS, **OPTIONS)
  check(two.low.advantages, [0.141225, 0.095, 0.288805, 0.291, 0.2])
  check(two.high.advantages, [0.39557, 0, 0.26, 0, 0])
  third = hierarchy.switch_estimate(
    REWARDS, SWITCH, ENDED, HIGH, jnp.array([[0.2, 0.3, 0.5, 0.5, 0.7]]), TURNS, discount=0.9
  )
  check(third.returns, [0.4455, 0.495, 0.81, 0.9, 1.0])
  check(third.advantages, [0.2455, 0.195, 0.31, 0.4, 0.3])


def test_an_episode_that_was_cut():
  args = jnp.zeros((1, 5)), SWITCH, CUT, LOW, HIGH, TURNS
  without = hierarchy.hae(*args, **OPTIONS)
  check(without.low.advantages, [0.141225, 0.095, -0.44222, -0.564, -0.8])
  check(without.high.advantages, [-0.227725, 0, -0.55, 0, 0])
  bootstrapped = hierarchy.hae(*args, **OPTIONS, bootstrap_truncated=True)
  check(bootstrapped.low.advantages, [0.141225, 0.095, 0.084118, 0.0516, -0.08])
  check(bootstrapped.high.advantages, [0.080806025, 0, -0.14905, 0, 0])


def random_turns(rows=4, turns=6):
  rng = np.random.default_rng(0)
  draw = lambda: jnp.array(rng.normal(size=(rows, turns)))
  mask = jnp.arange(turns) < jnp.array([6, 3, 1, 0])[:, None]
  return draw(), draw(), draw(), jnp.array(rng.random(rows) < 0.5), mask


@pytest.mark.parametrize("terminated", [False, True])
def test_a_loop_over_segments(terminated):
  """The equations, literally: segments as ranges of turns, episodes that were cut bootstrapped."""
  rewards, low, high, _, mask = (np.asarray(x) for x in random_turns())
  switch = np.random.default_rng(1).random(mask.shape) < 0.5
  expected_low, expected_high = np.zeros(mask.shape), np.zeros(mask.shape)
  for i, length in enumerate(mask.sum(axis=1)):
    end, following = length, 0.0
    for b in reversed([t for t in range(length) if t == 0 or switch[i, t]]):
      final = end == length
      after = 0.0
      for t in reversed(range(b, end)):
        if t + 1 < end:
          value = low[i, t + 1]
        else:
          value = high[i, end] if not final else 0.0 if terminated else low[i, t]
        expected_low[i, t] = after = rewards[i, t] + 0.9 * value - low[i, t] + 0.9 * 0.8 * after
      value = high[i, end] if not final else 0.0 if terminated else high[i, b]
      total, decay = sum(0.9 ** (t - b) * rewards[i, t] for t in range(b, end)), 0.9 ** (end - b)
      expected_high[i, b] = following = total + decay * value - high[i, b] + decay * 0.7 * following
      end = b
  options = dict(discount=0.9, lam_turn=0.8, lam_segment=0.7, bootstrap_truncated=True)
  actual = hierarchy.hae(*(jnp.array(x) for x in (rewards, switch, np.full(4, terminated), low, high, mask)), **options)
  np.testing.assert_allclose(actual.low.advantages, expected_low, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(actual.high.advantages, expected_high, rtol=1e-4, atol=1e-6)


def test_limits():
  rewards, low, high, ended, mask = random_turns()
  never, always = jnp.zeros(mask.shape), jnp.ones(mask.shape)
  options = dict(discount=0.9, lam_turn=0.8)
  flat = gae(rewards, low, mask, discount=0.9, lam=0.8)
  np.testing.assert_allclose(
    hierarchy.hae(rewards, never, ended, low, high, mask, **options).low.advantages, flat.advantages, rtol=1e-4
  )
  # A segment per turn: the low level is one step onto V_high, the high level is flat GAE over turns.
  each = hierarchy.hae(rewards, always, ended, low, high, mask, **options, lam_segment=0.6)
  onto = gae(rewards, high, mask, discount=0.9, lam=0.0).returns
  np.testing.assert_allclose(each.low.returns, onto, rtol=1e-5, atol=1e-6)
  flat = gae(rewards, high, mask, discount=0.9, lam=0.6)
  np.testing.assert_allclose(each.high.advantages, flat.advantages, rtol=1e-4, atol=1e-6)
  # Monte Carlo over segments.
  switch = jnp.arange(mask.shape[1]) % 2 == 0
  some = hierarchy.hae(rewards, switch * always, ended, low, high, mask, lam_segment=1.0)
  expected = jnp.where(some.boundaries, discounted_sums(rewards, mask) - high, 0)
  np.testing.assert_allclose(some.high.advantages, expected, rtol=1e-5, atol=1e-6)


def test_the_paper_s_switch_gain():
  switch, beta = jnp.array([[1, 1, 0, 0]]), jnp.array([[0.9, 0.25, 0.25, 0.5]])
  high, kept = jnp.array([[9.0, 2.0, 2.0, 1.0]]), jnp.array([[jnp.nan, 1.0, 1.0, 5.0]])
  gain = hierarchy.switch_gain(switch, beta, high, kept, jnp.array([[1, 1, 1, 0]]))
  check(gain, [0, 0.75, -0.25, 0])


SPANS = dict(
  turn_ids=jnp.array([[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]]),
  action_mask=jnp.array([[0, 0, 1, 0, 0, 1], [0, 0, 1, 0, 0, 0]]),
  subgoal_mask=jnp.array([[0, 1, 0, 0, 1, 0], [0, 1, 0, 0, 1, 0]]),
  switch_mask=jnp.array([[1, 0, 0, 1, 0, 0], [1, 0, 0, 1, 0, 0]]),
)
LEVELS = dict(
  low=jnp.array([[1.0, 4.0], [1.0, 100.0]]),
  high=jnp.array([[3.0, 100.0], [-1.0, 100.0]]),
  switch=jnp.array([[5.0, 5.0], [5.0, 100.0]]),
  boundaries=jnp.array([[True, False], [True, False]]),
  mask=jnp.array([[1, 1], [1, 0]]),
)


def test_each_level_reaches_the_tokens_that_decided():
  placed = hierarchy.hierarchy_on_tokens(**LEVELS, **SPANS, normalize=False)
  np.testing.assert_array_equal(placed.advantages, [[5, 3, 1, 5, 0, 4], [5, -1, 1, 0, 0, 0]])
  np.testing.assert_array_equal(placed.mask, [[1, 1, 1, 1, 0, 1], [1, 1, 1, 0, 0, 0]])


def test_normalisation_counts_each_turn_that_has_the_tokens_once():
  wider = {**SPANS, "action_mask": SPANS["action_mask"].at[0, 0].set(1)}  # two action tokens in one turn
  placed = hierarchy.hierarchy_on_tokens(**LEVELS, **wider).advantages
  r = 1 / np.sqrt(2)
  # low [1, 4, 1], high [3, -1], and a constant switch level, which gives 0.
  np.testing.assert_allclose(placed, [[-r, 1, -r, 0, 0, 2 * r], [0, -1, -r, 0, 0, 0]], rtol=1e-6, atol=1e-7)


def test_rows_without_turns_and_no_gradient():
  empty = hierarchy.hae(REWARDS, SWITCH, CUT, LOW, HIGH, jnp.zeros((1, 5)), bootstrap_truncated=True)
  assert not any(leaf.any() for leaf in jax.tree.leaves(empty))
  total = lambda v: sum(leaf.sum() for leaf in jax.tree.leaves(hierarchy.hae(REWARDS, SWITCH, ENDED, v, v, TURNS)[:2]))
  assert not jax.grad(total)(LOW).any()


def test_shapes_are_checked():
  with pytest.raises(ValueError, match=r"hae: expected arrays of one shape \[B S\]"):
    hierarchy.hae(REWARDS, SWITCH, ENDED, LOW, HIGH[:, :4], TURNS)


coin = lambda rng, shape: rng.random(shape) < 0.5
TURN_AXES = {"rewards": "BS", "switch": "BS", "terminated": "B"}
DRAWS = {"switch": coin, "terminated": coin, "boundaries": coin}
TRUNCATED = {"discount": 0.9, "bootstrap_truncated": True}
LEVEL_AXES = {"low": "BS", "high": "BS", "switch": "BS", "boundaries": "BS", "mask": "BS", "turn_ids": "BT"}
SPAN_AXES = {"action_mask": "BT", "subgoal_mask": "BT", "switch_mask": "BT"}


def _hae(**options):
  axes = {**TURN_AXES, "low_values": "BS", "high_values": "BS", "mask": "BS"}
  return Kernel(hierarchy.hae, axes, options, draws=DRAWS)


def _on_tokens(**options):
  draws = {"boundaries": coin}
  scope = "row" if options.get("normalize") is False else "batch"
  return Kernel(hierarchy.hierarchy_on_tokens, LEVEL_AXES | SPAN_AXES, options, draws=draws, scope=scope)


KERNELS = [
  Kernel(hierarchy.segment_boundaries, {"switch": "BS", "mask": "BS"}, draws=DRAWS),
  _hae(),
  _hae(lam_turn=0.8, **TRUNCATED),
  Kernel(
    hierarchy.switch_gain,
    {"switch": "BS", "switch_probabilities": "BS", "high_values": "BS", "kept_low_values": "BS", "mask": "BS"},
    draws=DRAWS,
  ),
  Kernel(
    hierarchy.switch_estimate,
    {**TURN_AXES, "high_values": "BS", "switch_values": "BS", "mask": "BS"},
    TRUNCATED,
    draws=DRAWS,
  ),
  _on_tokens(),
  _on_tokens(normalize=False),
]
