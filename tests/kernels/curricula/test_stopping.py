from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages.prior import fuse_prior
from rl_jax.kernels.curricula.stopping import expected_gain, look_ahead_allocation, look_ahead_stopping
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


DRAWN = 4000
TABLE = {
  "good": (0.161, 0.042, 0.020, 0.052, 0.022, 4.6),
  "medium": (0.176, 0.042, 0.128, 0.115, 0.083, 5.6),
  "random": (0.165, 0.041, 0.673, 0.169, 0.131, 8.9),
  "flipped": (0.159, 0.041, 1.319, 0.169, 0.122, 11.4),
}
"""Mean squared errors, by prior: of the mean of 4, the mean of 16, the prior, 4 fused with it, as many as the rule asks
for fused with it; then that number. Each is a mean over 4000 draws of another generator."""


def drawn(name):
  """(true means, streams of 16 rewards, priors): chances of success are uniform."""
  rng = np.random.default_rng(0)
  chances = rng.uniform(0, 1, DRAWN)
  means = 2 * chances - 1
  streams = np.where(rng.random((DRAWN, 16)) < chances[:, None], 1.0, -1.0)
  noisy = lambda deviation: np.clip(means + rng.normal(0, deviation, DRAWN), -1, 1)
  priors = {
    "good": lambda: noisy(0.15), "medium": lambda: noisy(0.4), "random": lambda: rng.uniform(-1, 1, DRAWN),
    "flipped": lambda: -means,
  }  # fmt: skip
  return means, streams, priors[name]()


@pytest.mark.parametrize("name", TABLE)
def test_the_table_of_mean_squared_errors(name):
  """Within four standard errors of the difference of two means of so many draws."""
  means, streams, priors = drawn(name)
  few, many = streams[:, :4].mean(axis=1), streams.mean(axis=1)
  fused = fuse_prior(jnp.asarray(few), jnp.full(DRAWN, 4), jnp.asarray(priors)).baseline
  stopping = look_ahead_stopping(jnp.asarray(streams), jnp.asarray(priors), jnp.ones(streams.shape))
  used = np.asarray(stopping.used.sum(axis=1))
  at_stop = np.asarray(stopping.fusions.baseline)[np.arange(DRAWN), used - 1]
  errors = [np.square(estimate - means) for estimate in (few, many, priors, np.asarray(fused), at_stop)]
  for measured, expected in zip((*errors, used), TABLE[name], strict=True):
    rounding = 0.05 if expected > 4 else 0.0005
    assert abs(measured.mean() - expected) < 4 * np.sqrt(2 / DRAWN) * measured.std() + rounding
  assert errors[3].mean() < 1.15 * errors[0].mean(), "never much worse than the plain mean"


def allocated(squared_bias, samples, sampled, responses, k_max, cost):
  """One response after the other to the prompt of the largest gain, D^2 held fixed."""
  samples, sampled, chosen = list(samples), list(sampled), []
  error = lambda d, k: d * (0.25 / k) / (d + 0.25 / k)
  while len(chosen) < responses:
    gains = [
      error(d, k) - error(d, k + 1) if n < k_max and d > 0 else 0.0
      for d, k, n in zip(squared_bias, samples, sampled, strict=True)
    ]
    best = int(np.argmax(gains))
    if gains[best] <= cost:
      break
    chosen.append(best)
    samples[best] += 1
    sampled[best] += 1
  return chosen


@pytest.mark.parametrize("responses", [3, 11])
def test_a_round_goes_where_a_loop_of_single_responses_goes(responses):
  rng, options = np.random.default_rng(2), {"k_max": 8, "cost": 0.001}
  biases = np.maximum(rng.normal(0.05, 0.2, (20, 6)), 0)
  samples = rng.integers(2, 8, (20, 6))
  sampled = samples + rng.integers(0, 2, (20, 6))
  rounds = jax.vmap(functools.partial(look_ahead_allocation, responses=responses, noise_variance=0.25, **options))
  prompts, mask = map(np.asarray, rounds(jnp.asarray(biases), jnp.asarray(samples), jnp.asarray(sampled)))
  assert prompts.shape == mask.shape == (20, responses)
  expected = [allocated(*case, responses, **options) for case in zip(biases, samples, sampled, strict=True)]
  for case, chosen in enumerate(expected):
    np.testing.assert_array_equal(mask[case], np.arange(responses) < len(chosen))
    np.testing.assert_array_equal(prompts[case, : len(chosen)], chosen)
  assert any(len(set(chosen)) < len(chosen) for chosen in expected), "some prompts get several"
  assert not mask.all() and mask.all(axis=1).any(), "some rounds have slots left, others not enough"


def test_rounds_of_one_response_are_the_rule_itself():
  rng = np.random.default_rng(3)
  for stream in rng.choice([-1.0, 1.0], (20, 16), p=[0.3, 0.7]):
    k, go_on = 4, True
    while go_on:
      fused = fuse_prior(jnp.array([stream[:k].mean()]), jnp.array([k]), jnp.array([-0.3]))
      go_on = bool(look_ahead_allocation(fused.squared_bias, fused.samples, fused.samples, responses=1).mask[0])
      k += go_on
    assert k == stop(stream, -0.3).used.sum()


def test_decisions_do_not_depend_on_the_scale_of_rewards():
  biases, k = jnp.array([0.5, 0.0, 1.7, 0.02]), jnp.array([4, 4, 5, 6])
  whole = look_ahead_allocation(biases, k, k, responses=12)
  halves = look_ahead_allocation(biases / 4, k, k, responses=12, cost=0.0039 / 4, noise_variance=0.25)
  assert 0 < whole.mask.sum() <= 12
  np.testing.assert_array_equal(whole, halves)


def test_more_responses_than_prompts_may_have_are_refused():
  two = jnp.ones(2)
  with pytest.raises(ValueError, match=r"7 responses are more than those of 2 prompts of 3 responses \(k_max\) each"):
    look_ahead_allocation(two, two, two, responses=7, k_max=3)


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
  Kernel(
    look_ahead_allocation,
    GAIN | {"sampled": "B"},
    {"responses": 4, "k_max": 9, "cost": 0.001},
    mask=None,
    scope="batch",
    ordered=True,
    draws=DRAWS | {"sampled": DRAWS["samples"]},
  ),
]
