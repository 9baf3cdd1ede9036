from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages.prior import fuse_prior
from rl_jax.kernels.curricula.stopping import expected_gain, look_ahead_stopping
from tests.kernels.kernel import Kernel


def stop(rewards, prior, **options):
  rewards = jnp.atleast_2d(jnp.asarray(rewards, float))
  return look_ahead_stopping(rewards, jnp.full(len(rewards), prior), jnp.ones(rewards.shape), **options)


def test_worked_examples():
  assert stop([-1.0] * 16, 0.0).used.sum() == 15
  # The cost was chosen for this: the worst prior just reaches 16, and no more where 20 are allowed.
  assert stop([-1.0] * 20, 1.0, k_max=20).used.sum() == 16
  assert stop([1.0] * 16, 0.8).used.sum() == 4


def test_the_gain_is_the_fall_of_the_error():
  squared, k = jnp.array([0.3, 2.0]), jnp.array([4, 9])
  error = lambda k: squared * (0.25 / k) / (squared + 0.25 / k)
  np.testing.assert_allclose(expected_gain(squared, k, noise_variance=0.25), error(k) - error(k + 1), rtol=1e-5)
  # With D^2 as the only unknown it is what `fuse_prior` calls the error.
  fused = fuse_prior(jnp.array([1.0]), jnp.array([5]), jnp.array([-0.5]))
  np.testing.assert_allclose(fused.error, fused.squared_bias * 0.2 / (fused.squared_bias + 0.2), rtol=1e-6)


def sequential(rewards, prior, k_init, k_max, cost):
  """One prompt, one response at a time, as a sampler does it."""
  for k in range(k_init, k_max + 1):
    squared = max(0.0, (np.mean(rewards[:k]) - prior) ** 2 - 1 / k)
    error = lambda k, squared=squared: squared / k / (squared + 1 / k)
    if k == k_max or error(k) - error(k + 1) <= cost:
      return k


def test_it_stops_where_a_loop_stops():
  rng = np.random.default_rng(0)
  streams, priors = rng.choice([-1.0, 1.0], (50, 12), p=[0.7, 0.3]), rng.uniform(-1, 1, 50)
  options = dict(k_init=3, k_max=12, cost=0.005)
  stopping = look_ahead_stopping(jnp.asarray(streams), jnp.asarray(priors), jnp.ones(streams.shape), **options)
  expected = [sequential(stream, prior, **options) for stream, prior in zip(streams, priors, strict=True)]
  assert {3, 12} < set(expected), "streams that stop at once, and at the limit"
  np.testing.assert_array_equal(stopping.used.sum(axis=1), expected)
  assert not stopping.more.any()


def test_waves_that_ask_for_more_end_where_the_whole_stream_does():
  rng = np.random.default_rng(1)
  streams, priors = jnp.asarray(rng.choice([-1.0, 1.0], (8, 16))), jnp.asarray(rng.uniform(-1, 1, 8))
  sampled = np.arange(16) < np.array([[1]] * 8)
  while (more := np.asarray(look_ahead_stopping(streams, priors, jnp.asarray(sampled)).more)).any():
    sampled[more, sampled[more].sum(axis=1)] = True
  whole = look_ahead_stopping(streams, priors, jnp.ones(streams.shape))
  np.testing.assert_array_equal(sampled, whole.used)


def test_a_prompt_without_responses_asks_for_none():
  stopping = look_ahead_stopping(jnp.full((1, 3), jnp.nan), jnp.array([jnp.nan]), jnp.zeros((1, 3)))
  assert not stopping.more.any() and not stopping.used.any()


def test_limits_in_the_wrong_order():
  with pytest.raises(ValueError, match="expected 1 <= k_init <= k_max, got 4 and 3"):
    stop([1.0] * 4, 0.0, k_max=3)


GAIN = {"squared_bias": "B", "samples": "B"}
SLOTS = {"rewards": "BS", "priors": "B", "mask": "BS"}
DRAWS = {
  "squared_bias": lambda rng, shape: rng.random(shape).astype("float32"),
  "samples": lambda rng, shape: rng.integers(0, 9, shape).astype("int32"),
}
RULE = {"k_init": 2, "k_max": 3, "cost": 0.05}

KERNELS = [
  Kernel(expected_gain, GAIN, mask=None, draws=DRAWS),
  Kernel(look_ahead_stopping, SLOTS, RULE),
]
