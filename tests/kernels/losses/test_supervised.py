from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.losses.supervised import negative_log_likelihood, positive_example_nll
from rl_jax.kernels.reductions import aggregate
from tests.kernels.kernel import Kernel

LOGPROBS, MASK = jnp.array([[-1.0, -2.0], [-4.0, -8.0]]), jnp.array([[1, 1], [1, 0]])


def test_only_tokens_of_correct_responses_count():
  np.testing.assert_allclose(positive_example_nll(LOGPROBS, jnp.array([True, True]), MASK).value, 7 / 3)
  np.testing.assert_allclose(positive_example_nll(LOGPROBS, jnp.array([False, True]), MASK).value, 4)
  gradient = jax.grad(lambda x: positive_example_nll(x, jnp.array([True, False]), MASK).value)(LOGPROBS)
  np.testing.assert_allclose(gradient, [[-0.5, -0.5], [0, 0]])


def test_no_correct_response_weighs_nothing():
  mean = positive_example_nll(LOGPROBS, jnp.array([False, False]), MASK)
  assert mean.weight == 0 and mean.value == 0


def test_all_correct_is_token_mean():
  expected = aggregate(-LOGPROBS, MASK, mode="token_mean")
  assert positive_example_nll(LOGPROBS, jnp.array([True, True]), MASK) == expected


KERNELS = [
  Kernel(negative_log_likelihood, {"logprobs": "BT", "mask": "BT"}, gradients=("logprobs",)),
  Kernel(positive_example_nll, {"logprobs": "BT", "correct": "B", "mask": "BT"}, gradients=("logprobs",)),
]
