from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.density_ratios.weights import mixture_weights, prefix_weights, truncated_weights
from tests.kernels.kernel import Kernel

RNG = np.random.default_rng(0)


def test_pairwise_ratios_become_one_against_the_mixture():
  past, new = RNG.dirichlet(np.ones(5), size=3), RNG.dirichlet(np.ones(5))
  np.testing.assert_allclose(mixture_weights(jnp.asarray(past / new)), new / past.mean(axis=0), rtol=1e-5)


def test_prefix_weights_against_loops():
  logprobs, old = -RNG.random((2, 5)), -RNG.random((2, 3, 5))
  mask = np.array([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1]])
  expected = np.zeros((2, 5))
  for b, t in zip(*np.nonzero(mask), strict=True):
    slots = [s for s in range(t + 1) if mask[b, s]]
    mixture = np.mean([np.exp(old[b, m, slots].sum()) for m in range(3)])
    expected[b, t] = np.exp(logprobs[b, slots].sum()) / mixture
  args = (jnp.asarray(x) for x in (logprobs, old, mask))
  np.testing.assert_allclose(prefix_weights(*args), expected, rtol=1e-5)


def test_prefixes_far_apart_stay_finite_when_truncated():
  """200 tokens that the past made e^-5 as likely: the weight is e^1000, its truncation the cap."""
  weights = prefix_weights(jnp.zeros((1, 200)), jnp.full((1, 2, 200), -5.0), jnp.ones((1, 200)))
  assert np.isinf(weights[0, -1])
  np.testing.assert_array_equal(truncated_weights(weights, jnp.array(1.5)), jnp.full((1, 200), 1.5))
  same = prefix_weights(jnp.full((1, 200), -5.0), jnp.full((1, 2, 200), -5.0), jnp.ones((1, 200)))
  np.testing.assert_allclose(same, 1)


def test_wrong_shapes_say_what_is_expected():
  with pytest.raises(ValueError, match=r"old_logprobs \[B M T\]"):
    prefix_weights(jnp.ones((2, 3)), jnp.ones((2, 3)), jnp.ones((2, 3)))


SIZES = {"M": 2, "N": 4}
POSITIVE = lambda rng, shape: rng.uniform(0.1, 3, shape).astype(np.float32)
DRAWS = {"weights": POSITIVE, "cap": POSITIVE}

KERNELS = [
  Kernel(truncated_weights, {"weights": "B", "cap": ""}, mask=None, draws=DRAWS),
  Kernel(mixture_weights, {"weights": "MN"}, mask=None, draws=DRAWS, sizes=SIZES),
  Kernel(
    prefix_weights, {"logprobs": "BT", "old_logprobs": "BMT", "mask": "BT"}, covers={"old_logprobs": ""}, sizes=SIZES
  ),
]
