from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.rewards import intrinsic
from rl_jax.kernels.rewards.intrinsic import RewardStatistics
from tests.kernels.kernel import Kernel, quick_jit

CAPTIONS = np.array([[5, 7, 5, 9, 5], [7, 5, 5, 9, 9]])
MASK = np.array([[1, 1, 1, 0, 1], [0, 1, 1, 1, 1]])
RNG = np.random.default_rng(0)


def test_rewards_of_hand():
  table = jnp.array([5, 3, 5]), jnp.array([0, 1, 1]), jnp.ones(3)
  repeats = intrinsic.repeat_factors(CAPTIONS, MASK)
  np.testing.assert_array_equal(repeats.counts, [[1, 1, 2, 0, 3], [0, 1, 2, 1, 2]])
  np.testing.assert_allclose(repeats.factors, [[1, 1, 1 / 8, 0, 1 / 27], [0, 1, 1 / 8, 1, 1 / 8]], rtol=1e-6)
  found = intrinsic.retrieved_rewards(CAPTIONS, *table, MASK)
  np.testing.assert_array_equal(found.rewards, [[1, 0, 1, 0, 1], [0, 1, 1, 0, 0]])  # the newer label of 5
  np.testing.assert_array_equal(found.unlabelled, [[0, 1, 0, 0, 0], [0, 0, 0, 1, 0]])  # 9 once, not where it is masked
  mixed = intrinsic.oni_rewards(jnp.ones((2, 5)), found.rewards, repeats.factors, MASK)
  np.testing.assert_allclose(mixed[0], [0.5, 0.1, 0.15, 0, 0.1 + 0.4 / 27], rtol=1e-6)


def test_farming_does_not_pay():
  """Saying one helpful thing for ever: the sum grows with beta 0, and is bounded by 1 + 1/8 + 1/27 + ... for 3."""
  captions, every = jnp.zeros((1, 50), int), jnp.ones((1, 50))
  total = lambda beta: intrinsic.repeat_factors(captions, every, beta=beta).factors.sum()
  assert total(0.0) == 50 and total(3.0) < 1.2021


def test_an_empty_table_knows_nothing():
  found = intrinsic.retrieved_rewards(CAPTIONS, jnp.array([5]), jnp.ones(1), jnp.zeros(1), MASK)
  assert not found.rewards.any() and found.unlabelled[0, 0]
  none = intrinsic.retrieved_rewards(CAPTIONS, jnp.zeros(0, int), jnp.zeros(0), jnp.zeros(0), MASK)
  np.testing.assert_array_equal(none.unlabelled, found.unlabelled)


def test_the_threshold_is_strict():
  logits = jnp.array([[[0.0, 0.0], [0.0, 1e-3], [5.0, 0.0]]])
  np.testing.assert_array_equal(intrinsic.classified_rewards(logits, jnp.ones((1, 3))), [[0, 1, 0]])
  one = RewardStatistics(jnp.array(0.0), jnp.array(1.0), jnp.array(1.0))
  ranked = intrinsic.ranked_rewards(jnp.array([[-0.5, -0.4]]), one, jnp.ones((1, 2)))
  np.testing.assert_allclose(ranked, [[0, -0.4]])


def test_statistics_of_batches_are_those_of_all():
  """But for the first ten-thousandth, and for ddof 1 in each batch."""
  batches, mask = RNG.normal(2, 3, size=(4, 5, 100)), RNG.random((5, 100)) < 0.7
  update, statistics = quick_jit(intrinsic.update_statistics), RewardStatistics.empty()
  for batch in batches:
    statistics = update(statistics, jnp.asarray(batch, jnp.float32), mask)
  rewards = batches[:, mask]
  np.testing.assert_allclose([statistics.mean, statistics.variance], [rewards.mean(), rewards.var()], rtol=5e-3)
  assert statistics.observations == pytest.approx(rewards.size)
  np.testing.assert_array_equal(update(statistics, jnp.full((5, 100), jnp.nan), 0 * mask), statistics)
  single = update(statistics, jnp.full((5, 100), 2.0), np.arange(500).reshape(5, 100) == 7)
  assert single.observations == statistics.observations + 1 and single.variance < statistics.variance


def test_no_variance_is_no_reward():
  nothing = RewardStatistics(jnp.array(1.0), jnp.array(0.0), jnp.array(9.0))
  np.testing.assert_array_equal(intrinsic.ranked_rewards(jnp.array([[5.0]]), nothing, jnp.ones((1, 1))), [[0]])


def test_cosines_do_not_depend_on_lengths():
  vectors, goals = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(2, 4))
  expected = (vectors * goals[:, None]).sum(axis=-1)
  expected /= np.linalg.norm(vectors, axis=-1) * np.linalg.norm(goals, axis=-1)[:, None]
  similar = lambda scale, threshold: intrinsic.similarity_rewards(
    jnp.asarray(scale * vectors, jnp.float32), jnp.asarray(goals, jnp.float32), jnp.ones((2, 3)), threshold=threshold
  )
  np.testing.assert_allclose(similar(1e-20, -1.0), expected, atol=1e-6)
  np.testing.assert_allclose(similar(1.0, 0.1), np.where(expected < 0.1, 0, expected), atol=1e-6)
  assert not similar(0.0, -1.0).any()


def test_the_newest_come_first_and_all_of_a_short_queue():
  waiting = jnp.array([[1, 1, 0, 1], [0, 1, 0, 0]])
  np.testing.assert_array_equal(intrinsic.newest(waiting, count=2), [[0, 1, 0, 1], [0, 1, 0, 0]])
  assert not intrinsic.newest(waiting, count=0).any()


def test_wrong_calls_say_what_to_do():
  with pytest.raises(ValueError, match=r"expected logits \[B T 2\] and mask \[B T\]"):
    intrinsic.classified_rewards(jnp.ones((2, 3)), jnp.ones((2, 3)))
  with pytest.raises(ValueError, match=r"expected waiting \[B N\] and a count of at least 0"):
    intrinsic.newest(jnp.ones(3), count=1)


SIZES = {"D": 2, "N": 3, "P": 2}
SAID = lambda rng, shape: rng.integers(0, 3, shape).astype(np.int32)
DRAWS = {"captions": SAID, "table_captions": SAID, "waiting": lambda rng, shape: rng.random(shape) < 0.6}
TOKENS = {"mask": "BT"}


def _update(rewards, mask):
  return intrinsic.update_statistics(RewardStatistics.empty(), rewards, mask)


def _ranked(rewards, mask):
  return intrinsic.ranked_rewards(rewards, RewardStatistics.empty(), mask)


KERNELS = [
  Kernel(intrinsic.repeat_factors, {"captions": "BT"} | TOKENS, draws=DRAWS),
  Kernel(
    intrinsic.retrieved_rewards,
    {"captions": "BT", "table_captions": "N", "table_labels": "N", "table_mask": "N"} | TOKENS,
    covers={"table_labels": "table_mask"},
    draws=DRAWS,
    sizes=SIZES,
  ),
  Kernel(intrinsic.classified_rewards, {"logits": "BTP"} | TOKENS, sizes=SIZES),
  Kernel(_update, {"rewards": "BT"} | TOKENS, scope="batch", zero_masked=False, public=intrinsic.update_statistics),
  Kernel(_ranked, {"rewards": "BT"} | TOKENS, public=intrinsic.ranked_rewards),
  Kernel(
    intrinsic.similarity_rewards,
    {"vectors": "BTD", "goals": "BD"} | TOKENS,
    {"threshold": 0.1},
    covers={"goals": ""},
    sizes=SIZES,
  ),
  Kernel(intrinsic.oni_rewards, dict.fromkeys(("extrinsic", "intrinsic", "factors"), "BT") | TOKENS),
  Kernel(intrinsic.newest, {"waiting": "BN"}, {"count": 2}, mask=None, draws=DRAWS, sizes=SIZES),
]
