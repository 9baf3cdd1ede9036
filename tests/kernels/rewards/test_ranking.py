from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.rewards import ranking
from tests.kernels.kernel import Kernel

CHAIN = jnp.array([[3.0, 0.0, 0.0], [2.0, 0.8, 0.8], [1.5, 1.4, 1.3]])
NONE, ALL = jnp.zeros(3, bool), jnp.ones(3, bool)
IDS = jnp.array([7, 7, 7])


def rank(entropies=CHAIN, correct=NONE, truncated=ALL, ids=IDS, mask=ALL, tokens=None, **options):
  tokens = jnp.ones(entropies.shape, bool) if tokens is None else tokens
  return ranking.entropy_ranking(entropies, correct, truncated, ids, mask, tokens, **options)


def test_a_chain_of_three():
  result = rank(top_share=0.34, max_reward=1.0)
  np.testing.assert_allclose(result.peaks, [3, 2, 1.5])
  np.testing.assert_allclose(result.means, [1.0, 1.2, 1.4], rtol=1e-6)
  assert result.dominated.tolist() == [2, 1, 0]
  np.testing.assert_allclose(result.rewards, [1, 0.5, 0])


def test_ties_share_their_mean_rank_or_follow_row_order():
  # Rows 0 and 2 are equal and dominate row 1; row 3 is of another group.
  entropies = jnp.array([[3.0, 0.0], [1.5, 1.6], [3.0, 0.0], [9.0, 0.0]])
  args = dict(correct=jnp.zeros(4, bool), truncated=jnp.ones(4, bool), ids=jnp.array([7, 7, 7, 1]))
  args |= dict(mask=jnp.ones(4, bool), max_reward=1.0)
  assert rank(entropies, **args).rewards.tolist() == [0.75, 0, 0.75, 0]
  assert rank(entropies, **args, ties="stable").rewards.tolist() == [1, 0, 0.5, 0]


def test_who_is_ranked():
  # One correct response: no row of the group is ranked. A wrong but complete response keeps 0 and does not count.
  assert not rank(correct=jnp.array([False, True, False])).rewards.any()
  assert rank(truncated=jnp.array([True, False, True])).rewards.tolist() == [0.5, 0, 0]
  # An unscored correct response hides nothing; one ranked row alone gets 0.
  assert rank(correct=~ALL | (IDS.cumsum() == 7), mask=jnp.array([False, True, True])).rewards.tolist() == [0, 0.5, 0]
  assert not rank(truncated=jnp.array([True, False, False])).rewards.any()


def test_the_number_of_peak_tokens_is_exact():
  """0.29 of 100 tokens are 29, though 0.29 * 100 < 29 in floating point; of 2 tokens at least 1."""
  entropies = jnp.arange(100, 0, -1.0)[None]
  peak = lambda length: (
    rank(entropies, NONE[:1], ALL[:1], IDS[:1], ALL[:1], jnp.arange(100)[None] < length, top_share=0.29).peaks
  )
  np.testing.assert_allclose(peak(100), [np.arange(100, 71, -1).mean()])
  np.testing.assert_allclose(peak(2), [100])


def test_an_empty_response_has_no_entropy():
  tokens = jnp.array([[True] * 3, [True] * 3, [False] * 3])
  result = rank(jnp.where(tokens, CHAIN, jnp.nan), tokens=tokens)
  assert (result.peaks[2], result.means[2]) == (0, 0)
  assert jnp.isfinite(result.rewards).all()


def test_short_correct_responses_earn_more():
  correct = jnp.array([True, True, True, False])
  rewards = ranking.length_bonus_reward(correct, jnp.array([0, 6, 30, 6]), max_length=24)
  np.testing.assert_allclose(rewards, [2, 1.75, 1, 0])


def test_an_unknown_rule_for_ties_lists_the_known():
  with pytest.raises(ValueError, match="unknown ties 'random'; known: average, stable"):
    rank(ties="random")


RANKED = {
  "entropies": "BT",
  "correct": "B",
  "truncated": "B",
  "group_ids": "B",
  "mask": "B",
  "token_mask": "BT",
}
DRAWS = {
  "entropies": lambda rng, shape: rng.exponential(size=shape).astype("float32"),
  "correct": lambda rng, shape: rng.random(shape) < 0.1,
  "truncated": lambda rng, shape: rng.random(shape) < 0.9,
}


def _ranking(**options):
  return Kernel(
    ranking.entropy_ranking,
    RANKED,
    options,
    scope="group",
    covers={"entropies": "token_mask"},
    ordered=options["ties"] == "stable",
    draws=DRAWS,
  )


KERNELS = [
  Kernel(ranking.length_bonus_reward, {"correct": "B", "lengths": "B"}, {"max_length": 200}, mask=None),
  _ranking(ties="average"),
  _ranking(ties="stable", top_share=0.5),
]
