from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.losses.supervised import negative_log_likelihood
from rl_jax.kernels.reductions import aggregate
from rl_jax.kernels.rewards import process
from rl_jax.kernels.scans import discounted_sums
from tests.kernels.kernel import Kernel

ONES = jnp.ones((1, 3))


def test_token_weights_by_hand_with_a_token_outside_all_steps():
  advantages, ids = jnp.array([[0.2, -0.1, 0.3]]), jnp.array([[0, 0, 1, 2, 2, -1]])
  mask, baselines = jnp.array([[1, 1, 1, 1, 0, 1]]), jnp.full((1, 6), 0.1)
  weights = process.token_weights(jnp.array([1.0]), advantages, ids, mask, baselines=baselines)
  np.testing.assert_allclose(weights, [[1.9, 1.9, 0.4, 2.4, 0, 0.9]], rtol=1e-6)


def test_a_masked_step_merges_into_the_next():
  values, start = jnp.array([[0.5, jnp.nan, 1.0, 0.0]]), jnp.array([0.25])
  merged = process.progress(values, start, jnp.array([[1, 0, 1, 0]]))
  np.testing.assert_array_equal(merged, [[0.25, 0, 0.5, 0]])


def test_summed_progress_telescopes_to_the_outcome_minus_a_baseline():
  values, start = jnp.array([[0.5, 0.25, 1.0]]), jnp.array([0.75])
  summed = discounted_sums(process.progress(values, start, ONES), ONES)
  np.testing.assert_allclose(summed, [[1 - 0.75, 1 - 0.5, 1 - 0.25]])


def test_progress_of_the_policy_itself_scales_the_outcome_gradient():
  """Expected gradient with prover = policy: (1 + alpha) times that of the outcome alone, and alpha 0 is that one."""
  theta, q, alpha = jnp.array([0.3, -0.2, 0.1]), jnp.array([[0.9], [0.2], [0.4]]), 3.0
  probabilities = jax.nn.softmax(theta)
  value = jnp.full(3, (probabilities * q[:, 0]).sum())
  ones = jnp.ones((3, 1))

  def expected_gradient(alpha):
    # One step of one token; every action once, weighted by its probability, with Q in place of a sampled outcome.
    advantages = process.progress(q, value, ones)
    weights = process.token_weights(q[:, 0], advantages, jnp.zeros((3, 1), jnp.int32), ones, alpha=alpha)

    def loss(theta):
      losses = weights * negative_log_likelihood(jax.nn.log_softmax(theta)[:, None], ones)
      return aggregate(losses, probabilities[:, None], mode="token_mean").value

    return jax.grad(loss)(theta)

  np.testing.assert_allclose(expected_gradient(alpha), (1 + alpha) * expected_gradient(0.0), rtol=1e-5)
  assert jnp.abs(expected_gradient(0.0)).max() > 0.01


def test_effective_rewards_by_hand():
  args = jnp.array([[0.25, 1.0, 0.5]]), jnp.array([[0.5, -1.0, jnp.nan]]), jnp.array([[1, 1, 0]])
  np.testing.assert_array_equal(process.effective_rewards(*args, alpha=2.0), [[1.25, -1.0, 0]])


def test_prefixes_without_rollouts_have_no_weight():
  values = process.monte_carlo_values(jnp.array([[[1.0, 0, 0], [1, 1, 1]]]), jnp.array([[[1, 1, 0], [0, 0, 0]]]))
  np.testing.assert_array_equal(values.value, [[0.5, 0]])
  np.testing.assert_array_equal(values.weight, [[2, 0]])


@pytest.mark.parametrize(
  ("values", "mask", "step", "found"),
  [
    ([0.0, 0.5, 0.1, 0.0, 0.0], [1, 1, 1, 1, 1], 3, True),  # a zero before the high value is no pit
    ([0.6, 0.2, 0.0, 0.3, 0.0], [1, 1, 0, 1, 1], 4, True),  # nor is a masked one
    ([0.4, 0.0, 0.0, 0.0, 0.0], [1, 1, 1, 0, 0], 2, False),  # never high: everything is kept
    ([0.9, 0.0, 0.0, 0.0, 0.0], [0, 0, 0, 0, 0], 0, False),
  ],
)
def test_first_pit(values, mask, step, found):
  pit = process.first_pit(jnp.array([values]), jnp.array([mask]))
  assert (pit.step.item(), pit.found.item()) == (step, found)
  np.testing.assert_array_equal(pit.keep[0], [bool(m) and h <= step for h, m in enumerate(mask)])


def test_errors():
  with pytest.raises(ValueError, match=r"progress: expected arrays of one shape \[B S\]"):
    process.progress(jnp.ones((1, 4)), jnp.ones(1), ONES)


def _labels(rng, shape):
  return rng.choice([0.0, 0.25, 0.75], shape).astype(np.float32)


STEPS = {"values": "BS", "advantages": "BS", "mask": "BS"}

KERNELS = [
  Kernel(process.monte_carlo_values, {"outcomes": "BSR", "mask": "BSR"}, sizes={"R": 3}),
  Kernel(process.best_of_k_values, {"values": "BS", "mask": "BS"}),
  Kernel(process.progress, {"values": "BS", "initial_values": "B", "mask": "BS"}),
  Kernel(process.effective_rewards, STEPS),
  Kernel(
    process.token_weights,
    {"outcomes": "B", "advantages": "BS", "segment_ids": "BT", "mask": "BT", "baselines": "BT"},
  ),
  Kernel(process.first_pit, {"values": "BS", "mask": "BS"}, draws={"values": _labels}),
]
