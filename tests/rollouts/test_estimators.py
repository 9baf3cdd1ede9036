"""Estimators of prompts' rewards: sums by hand, a ridge regression in float64, what they read of prompts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.rollouts.estimators import ridge_regression, running_means, stateless, token_features
from rl_jax.tasks.task import Prompts

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def prompts_of(levels, tokens=None, mask=None) -> Prompts:
  levels = jnp.asarray(levels)
  tokens = jnp.zeros((levels.shape[0], 1), jnp.int32) if tokens is None else jnp.asarray(tokens)
  mask = jnp.ones(tokens.shape, bool) if mask is None else jnp.asarray(mask)
  return Prompts(tokens, mask, jnp.arange(levels.shape[0]), levels, {})


def test_running_means_by_hand():
  """Two prompts of level 0 with 1 and 0.5, one of level 2 with 0, one unknown; then one of level 0 with 0."""
  estimator = running_means(3, start=0.5, strength=2.0, decay=0.5)
  each = prompts_of([0, 1, 2])
  values = lambda state: estimator.values({}, state, each)
  state = estimator.init(KEY)
  np.testing.assert_array_equal(values(state), [0.5, 0.5, 0.5])
  known = jnp.array([True, True, True, False])
  state = estimator.update(state, prompts_of([0, 0, 2, 1]), jnp.array([1.0, 0.5, 0.0, jnp.nan]), known)
  np.testing.assert_array_equal(state.rewards, [1.5, 0, 0])
  np.testing.assert_array_equal(state.prompts, [2, 0, 1])
  np.testing.assert_allclose(values(state), [2.5 / 4, 0.5, 1 / 3], rtol=1e-6)
  state = estimator.update(state, prompts_of([0]), jnp.zeros(1), jnp.array([True]))
  np.testing.assert_allclose(values(state), [1.75 / 4, 0.5, 1 / 2.5], rtol=1e-6)


def test_features_count_the_tokens_of_a_prompt_and_nothing_of_its_padding():
  tokens, mask = [[9, 3, 8, 3], [0, 0, 0, 5]], [[False, True, True, True], [False, False, False, True]]
  x = token_features(prompts_of([0, 0], tokens, mask), 5)
  np.testing.assert_allclose(x, [[1, 0, 0, 0, 1.5, 0], [1, 0.5, 0, 0, 0, 0]])  # 8 is 3 modulo 5


def test_a_ridge_regression_is_that_of_float64():
  """Sums of three updates, of which the first has decayed twice; unknown prompts count for nothing."""
  size, decay = 4, 0.8
  estimator = ridge_regression(size, start=0.25, strength=1.5, decay=decay, lowest=0.0, highest=1.0)
  state, products, targets = estimator.init(KEY), np.zeros((5, 5)), np.zeros(5)
  features = lambda prompts: np.asarray(token_features(prompts, size), np.float64)
  for _ in range(3):
    prompts = prompts_of(np.zeros(6, int), RNG.integers(0, 4, (6, 3)))
    means, known = RNG.random(6).astype(np.float32), np.arange(6) < 5
    state = estimator.update(state, prompts, jnp.where(known, means, jnp.nan), jnp.asarray(known))
    x = features(prompts)[:5]
    products, targets = decay * products + x.T @ x, decay * targets + x.T @ (means[:5] - 0.25)
  new = prompts_of(np.zeros(8, int), RNG.integers(0, 4, (8, 3)))
  weights = np.linalg.solve(products + 1.5 * np.eye(5), targets)
  values = estimator.values({}, state, new)
  np.testing.assert_allclose(values, 0.25 + features(new) @ weights, rtol=1e-4)
  assert np.ptp(values) > 0.01
  narrow = ridge_regression(size, start=0.25, strength=1.5, decay=decay, lowest=0.4, highest=0.45)
  np.testing.assert_allclose(narrow.values({}, state, new), np.clip(values, 0.4, 0.45))


def test_a_regression_learns_which_token_fails():
  """Prompts with the token 1 fail: after a few updates its values say so, and without any they are the start."""
  estimator = ridge_regression(3, start=0.5, strength=1.0, decay=0.9, lowest=0.0, highest=1.0)
  with_it, without = [1, 2, 0, 2], [2, 2, 0, 0]
  prompts = prompts_of([0, 0], [with_it, without])
  state = estimator.init(KEY)
  np.testing.assert_array_equal(estimator.values({}, state, prompts), [0.5, 0.5])
  for _ in range(20):
    state = estimator.update(state, prompts, jnp.array([0.0, 1.0]), jnp.ones(2, bool))
  values = np.asarray(estimator.values({}, state, prompts))
  assert values[0] < 0.2 and values[1] > 0.8


def test_a_stateless_estimator_keeps_nothing():
  estimator = stateless(lambda models, state, prompts: prompts.levels / 4)
  assert estimator.init(KEY) == () == estimator.update((), prompts_of([1]), jnp.ones(1), jnp.ones(1, bool))
  np.testing.assert_array_equal(estimator.values({}, (), prompts_of([1, 2])), [0.25, 0.5])
