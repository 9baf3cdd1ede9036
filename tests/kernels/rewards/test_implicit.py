from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.losses.reward_model import binary_cross_entropy
from rl_jax.kernels.reductions import masked_mean
from rl_jax.kernels.rewards.implicit import implicit_rewards, scale_to_unit_return
from tests.kernels.kernel import Kernel
from tests.kernels.numerics import finite_difference

PRM = jnp.array([[-1.0, -2.0, -0.5, jnp.nan], [-1.0, -1.0, jnp.nan, jnp.nan]])
REF = jnp.array([[-1.5, -1.0, -2.5, jnp.nan], [-3.0, -1.0, jnp.nan, jnp.nan]])
MASK = jnp.array([[1, 1, 1, 0], [1, 1, 0, 0]])


def test_where_the_rewards_sit():
  token = implicit_rewards(PRM, REF, MASK, beta=1.0)
  np.testing.assert_array_equal(token.tokens, [[0.5, -1, 2, 0], [2, 0, 0, 0]])
  np.testing.assert_array_equal(token.sequences, [1.5, 2])
  zeroed = implicit_rewards(PRM, REF, MASK, beta=1.0, last_token="zero")
  np.testing.assert_array_equal(zeroed.tokens, [[0.5, -1, 0, 0], [2, 0, 0, 0]])
  np.testing.assert_array_equal(zeroed.sequences, token.sequences)
  whole = implicit_rewards(PRM, REF, MASK, beta=1.0, granularity="whole")
  np.testing.assert_array_equal(whole.tokens, [[0, 0, 1.5, 0], [0, 2, 0, 0]])


def test_gradient_of_the_cross_entropy_goes_through_the_reward_model_only():
  labels, rows = jnp.array([0.25, 1.0]), jnp.ones(2)

  def loss(prm, ref):
    sequences = implicit_rewards(prm, ref, MASK, beta=0.5).sequences
    return masked_mean(binary_cross_entropy(sequences, labels, rows), rows).value

  ref = np.float64(REF)

  def reference(prm):
    total = 0.0
    for row, y in enumerate((0.25, 1.0)):
      z = sum(0.5 * (prm[row, t] - ref[row, t]) for t in range(3 - row))
      total += y * np.log1p(np.exp(-z)) + (1 - y) * np.log1p(np.exp(z))
    return total / 2

  by_prm, by_ref = jax.grad(loss, argnums=(0, 1))(PRM, REF)
  np.testing.assert_allclose(by_prm, finite_difference(reference, np.nan_to_num(np.float64(PRM))), atol=1e-6)
  assert not by_ref.any()


def test_token_rewards_carry_no_gradient():
  assert not jax.grad(lambda x: implicit_rewards(x, REF, MASK).tokens.sum())(PRM).any()


def test_the_largest_return_becomes_one_and_beta_drops_out():
  rewards = implicit_rewards(PRM, REF, MASK, beta=1.0).tokens
  # Returns of row 0: 1.5, 1, 2; of row 1: 2, 0.
  np.testing.assert_allclose(scale_to_unit_return(rewards, MASK, eps=0.0), rewards / 2)
  np.testing.assert_allclose(
    scale_to_unit_return(-8 * rewards, MASK, eps=0.0), -scale_to_unit_return(rewards, MASK, eps=0.0)
  )
  assert not scale_to_unit_return(0 * rewards, MASK, eps=0.0).any()


def test_unknown_options():
  with pytest.raises(ValueError, match="unknown granularity 'step'; known: token, whole"):
    implicit_rewards(PRM, REF, MASK, granularity="step")
  with pytest.raises(ValueError, match="unknown last_token 'drop'; known: keep, zero"):
    implicit_rewards(PRM, REF, MASK, last_token="drop")


MODELS = {"prm_logprobs": "BT", "ref_logprobs": "BT", "mask": "BT"}

KERNELS = [
  Kernel(implicit_rewards, MODELS, {"last_token": "zero"}, gradients=("prm_logprobs",)),
  Kernel(implicit_rewards, MODELS, {"granularity": "whole"}, gradients=("prm_logprobs",)),
  Kernel(scale_to_unit_return, {"token_rewards": "BT", "mask": "BT"}, scope="batch"),
]
