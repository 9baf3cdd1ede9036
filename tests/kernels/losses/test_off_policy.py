from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.losses.off_policy import (
  PRESETS,
  importance_weights,
  off_policy_mask,
  rejection_mask,
  sampler_correction,
)
from tests.kernels.kernel import Kernel

# Ratios (2, 1/2, 3), (1.1, 1.1, -) and a row without tokens.
RATIOS = jnp.array([[2.0, 0.5, 3.0], [1.1, 1.1, 9.0], [9.0, 9.0, 9.0]])
MASK = jnp.array([[1, 1, 1], [1, 1, 0], [0, 0, 0]])
ARGS = jnp.log(RATIOS) - 1, jnp.full((3, 3), -1.0), MASK


@pytest.mark.parametrize(
  "options, expected",
  [
    ({}, [[2, 0.5, 2], [1.1, 1.1, 0], [0, 0, 0]]),
    ({"low": 0.8, "high": 2.5}, [[2, 0.8, 2.5], [1.1, 1.1, 0], [0, 0, 0]]),
    ({"bound": "mask", "high": 2.5}, [[2, 0.5, 0], [1.1, 1.1, 0], [0, 0, 0]]),
    ({"level": "sequence"}, [[2, 2, 2], [1.21, 1.21, 0], [0, 0, 0]]),
    ({"level": "sequence", "bound": "mask"}, [[0, 0, 0], [1.21, 1.21, 0], [0, 0, 0]]),
    ({"level": "geometric"}, [[3 ** (1 / 3)] * 3, [1.1, 1.1, 0], [0, 0, 0]]),
  ],
)
def test_weights_by_hand(options, expected):
  np.testing.assert_allclose(importance_weights(*ARGS, **options), expected, rtol=1e-5)


K2 = [np.log(2) ** 2 / 2, np.log(3) ** 2 / 2]


@pytest.mark.parametrize(
  "options, expected",
  [
    ({"over": "token", "low": 0.6, "high": 2.5}, [[1, 0, 0], [1, 1, 0]]),
    ({"over": "every", "low": 0.4, "high": 2.9}, [[0, 0, 0], [1, 1, 0]]),
    ({"over": "every", "low": 0.4, "high": 3.1}, [[1, 1, 1], [1, 1, 0]]),
    ({"over": "sum", "low": 0.5, "high": 2.0}, [[0, 0, 0], [1, 1, 0]]),
    ({"over": "mean", "low": 1.2, "high": 2.0}, [[1, 1, 1], [0, 0, 0]]),
    ({"statistic": "k2", "over": "token", "high": K2[0] + 0.01}, [[1, 1, 0], [1, 1, 0]]),
    ({"statistic": "k2", "over": "sum", "high": 2 * K2[0] + K2[1] - 0.01}, [[0, 0, 0], [1, 1, 0]]),
    ({"statistic": "k2", "over": "mean", "high": (2 * K2[0] + K2[1]) / 3 + 0.01}, [[1, 1, 1], [1, 1, 0]]),
    ({"statistic": "k3", "over": "mean", "high": 0.1 - np.log(1.1) - 1e-4}, [[0, 0, 0], [0, 0, 0]]),
    ({"statistic": "k3", "over": "mean", "high": 0.1 - np.log(1.1) + 1e-4}, [[0, 0, 0], [1, 1, 0]]),
  ],
)
def test_rejections_by_hand(options, expected):
  np.testing.assert_array_equal(rejection_mask(*ARGS, **options), [*map(list, np.array(expected, bool)), [False] * 3])


def test_off_policy_mask_by_hand():
  """Row 0 has become unlikely by 0.75 a token, row 1 by 0.25; good rows are never left out."""
  behaviour = jnp.full((3, 2), -1.0)
  now = jnp.array([[-2.0, -1.5], [-1.25, -1.25], [-9.0, -9.0]])
  advantages = jnp.array([[-1.0, 0.5], [-1.0, -1.0], [0.0, 1.0]])
  kept = off_policy_mask(now, behaviour, advantages, jnp.ones((3, 2)), threshold=0.5)
  np.testing.assert_array_equal(kept, [[False, True], [True, True], [True, True]])


def test_presets_are_combined():
  """Weights of one and the rejection of another; caps and bounds of a run's own."""
  both = sampler_correction(*ARGS, preset="token_rs+token_tis")
  np.testing.assert_allclose(both.weights, importance_weights(*ARGS))
  np.testing.assert_array_equal(both.kept, rejection_mask(*ARGS, over="token", low=0.5, high=2.0))
  own = sampler_correction(*ARGS, preset="sequence_rs+sequence_tis", cap=2.5, bounds=(0.5, 4.0))
  np.testing.assert_allclose(own.weights, importance_weights(*ARGS, level="sequence", high=2.5))
  np.testing.assert_array_equal(own.kept, MASK)
  masked = sampler_correction(*ARGS, preset="icepop+token_rs").weights
  np.testing.assert_allclose(masked, importance_weights(*ARGS, bound="mask", low=0.5, high=5.0))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_sampler_that_agrees_needs_no_correction(preset):
  weights, kept = sampler_correction(ARGS[1], ARGS[1], MASK, preset=preset)
  np.testing.assert_array_equal(weights, MASK)
  np.testing.assert_array_equal(kept, MASK)


@pytest.mark.parametrize("preset", PRESETS)
def test_corrections_carry_no_gradient_and_stay_finite(preset):
  run = lambda x: sampler_correction(x, ARGS[1], MASK, preset=preset).weights.sum()
  assert not jax.grad(run)(ARGS[0]).any()
  far = jnp.array([[-jnp.inf, -1.0, 3e4]])
  for old, behaviour in ((far, -far), (-jnp.abs(far), jnp.full((1, 3), -jnp.inf))):
    assert jnp.isfinite(sampler_correction(old, behaviour, jnp.ones((1, 3)), preset=preset).weights).all()


def test_an_impossible_token_weighs_nothing():
  old, behaviour = jnp.array([[-jnp.inf, -jnp.inf, -1.0]]), jnp.array([[-1.0, -jnp.inf, -jnp.inf]])
  assert importance_weights(old, behaviour, jnp.ones((1, 3))).tolist() == [[0, 1, 2]]


def test_wrong_calls_list_the_known():
  with pytest.raises(ValueError, match="unknown preset 'tis'; known: token_tis, sequence_tis"):
    sampler_correction(*ARGS, preset="token_rs+tis")
  for twice in ("token_tis+token_tis", "token_tis+sequence_tis", "icepop+k3_rs+token_mis"):
    with pytest.raises(ValueError, match="would count the ratio twice: name one of them"):
      sampler_correction(*ARGS, preset=twice)
  for empty in ("k3_rs+", "+k3_rs", "k3_rs++token_tis", ""):
    with pytest.raises(ValueError, match=r"preset='.*': want names joined by single '\+', as 'k3_rs\+token_tis'"):
      sampler_correction(*ARGS, preset=empty)
  with pytest.raises(ValueError, match="unknown level 'row'; known: token, sequence, geometric"):
    importance_weights(*ARGS, level="row")
  with pytest.raises(ValueError, match="unknown over 'max'; known: token, every, sum, mean"):
    rejection_mask(*ARGS, over="max", high=1.0)


PAIR = {"old_logprobs": "BT", "behaviour_logprobs": "BT", "mask": "BT"}
KERNELS = [
  Kernel(importance_weights, PAIR),
  Kernel(importance_weights, PAIR, {"level": "sequence", "bound": "mask"}),
  Kernel(rejection_mask, PAIR, {"low": 0.5, "high": 2.0}),
  Kernel(rejection_mask, PAIR, {"statistic": "k3", "over": "every", "high": 0.5}),
  Kernel(
    off_policy_mask, {"logprobs": "BT", "behaviour_logprobs": "BT", "advantages": "BT", "mask": "BT"},
    {"threshold": 0.1},
  ),
  Kernel(sampler_correction, PAIR, {"preset": "sequence_rs+token_tis"}),
]  # fmt: skip
