"""Draws have the exact distribution, in vocabularies of one block and of several; truncated tokens never come."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.rollouts.categorical import BLOCK, _invert, argmax, draw


def test_the_distribution_function_is_inverted_by_hand():
  """Cumulative weights 1, 1, 3, 6 of 6: shares below 1/6 give 0, below 1/2 give 2, below 1 give 3; never 1."""
  weights = jnp.array([[1.0, 0.0, 2.0, 3.0]] * 6)
  shares = jnp.array([0.0, 0.166, 0.167, 0.499, 0.501, np.nextafter(1, 0, dtype=np.float32)])
  assert _invert(weights, shares).tolist() == [0, 0, 2, 2, 3, 3]


@pytest.mark.parametrize("words", [5, pytest.param(BLOCK, marks=pytest.mark.slow), 2 * BLOCK + 3])
def test_frequencies_are_those_of_the_softmax(words):
  """Chi-square over classes of about equal probability, within five standard deviations of its mean."""
  rng, count = np.random.default_rng(words), 1000
  scores = jnp.asarray(rng.normal(size=words) * 2, jnp.float32)
  scores = scores.at[rng.choice(words, words // 3, replace=False)].set(-jnp.inf)
  keys = jax.random.split(jax.random.key(7), count)
  tokens = np.asarray(jax.jit(lambda keys: draw(jnp.broadcast_to(scores, (count, words)), keys))(keys))
  exact = np.exp(np.asarray(scores, np.float64))
  exact /= exact.sum()
  assert np.all(exact[tokens] > 0)
  classes = np.minimum(np.cumsum(exact) * 16, 15).astype(int)
  expected = np.bincount(classes, exact)
  seen = np.bincount(classes[tokens], minlength=len(expected))
  kept = expected > 0
  chi_square = np.sum((seen[kept] - count * expected[kept]) ** 2 / (count * expected[kept]))
  freedom = kept.sum() - 1
  assert chi_square < freedom + 5 * np.sqrt(2 * freedom), (chi_square, freedom)


def test_a_single_token_is_left():
  scores = jnp.full((3, 2 * BLOCK + 3), -jnp.inf).at[jnp.arange(3), jnp.array([0, BLOCK, 2 * BLOCK + 2])].set(-50.0)
  keys = jax.random.split(jax.random.key(0), 3)
  assert draw(scores, keys).tolist() == argmax(scores).tolist() == [0, BLOCK, 2 * BLOCK + 2]


def test_a_row_does_not_depend_on_the_rows_around_it():
  scores = jax.random.normal(jax.random.key(0), (4, 600))
  keys = jax.random.split(jax.random.key(1), 4)
  assert draw(scores, keys)[2] == draw(scores[2:3], keys[2:3])[0]


@pytest.mark.parametrize("words", [5, pytest.param(BLOCK, marks=pytest.mark.slow), 2 * BLOCK + 3])
def test_the_likeliest_is_the_first_of_the_highest(words):
  scores = jnp.round(jax.random.normal(jax.random.key(words), (64, words)))
  np.testing.assert_array_equal(argmax(scores), np.argmax(scores, axis=-1))
