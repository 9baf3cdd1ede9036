from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.losses import reward_model
from rl_jax.kernels.reductions import masked_mean
from tests.kernels.kernel import Kernel
from tests.kernels.numerics import finite_difference
from tests.kernels.papers.as_released import pair_accuracy_by_order

REWARDS = np.array([0.7, -0.4, 1.2, 0.1, -0.9])
OUTCOMES = np.array([1.0, 0.0, 0.5, 0.0, 1.0])
IDS = np.array([3, 3, 3, 3, -8])


def test_cross_entropy_is_finite_far_out_and_has_gradient_sigmoid_minus_label():
  logits, labels = jnp.array([200.0, -200.0, 0.5, 9.0]), jnp.array([0.0, 1.0, 0.25, 1.0])
  mask = jnp.array([1, 1, 1, 0])
  losses = reward_model.binary_cross_entropy(logits, labels, mask)
  np.testing.assert_allclose(losses, [200, 200, np.log1p(np.exp(0.5)) - 0.125, 0], rtol=1e-6)
  gradient = jax.grad(lambda z: reward_model.binary_cross_entropy(z, labels, mask).sum())(logits)
  np.testing.assert_allclose(gradient, [1, -1, 1 / (1 + np.exp(-0.5)) - 0.25, 0], atol=1e-6)


def test_classes_weigh_the_same():
  labels, mask = jnp.array([0.0, 0.2, 0.49, 0.5, 1.0, 0.9]), jnp.array([1, 1, 1, 1, 0, 0])
  weights = reward_model.class_balanced_weights(labels, mask)
  np.testing.assert_allclose(weights, [2 / 3, 2 / 3, 2 / 3, 2, 0, 0], rtol=1e-6)
  low = jnp.array([1, 1, 1, 0, 0, 0])
  np.testing.assert_array_equal(reward_model.class_balanced_weights(labels, low), low)  # one class: the plain mean


def test_detached_dpo_against_loops():
  old = np.array([0.5, -0.3, 0.8, 0.2, -0.6])

  def reference(rewards):
    total = 0.0
    for i in range(5):
      lower = [old[j] for j in range(5) if IDS[j] == IDS[i] and OUTCOMES[j] < OUTCOMES[i]]
      higher = [old[j] for j in range(5) if IDS[j] == IDS[i] and OUTCOMES[j] > OUTCOMES[i]]
      others = lower if OUTCOMES[i] > 0 else higher
      margin = rewards[i] - (np.mean(others) if others else 0.0)
      total += (i + 1) * np.log1p(np.exp(-margin if OUTCOMES[i] > 0 else margin))
    return total

  def loss(rewards, old):
    losses = reward_model.detached_dpo(rewards, old, jnp.array(OUTCOMES), jnp.array(IDS), jnp.ones(5, bool))
    return (losses * jnp.arange(1, 6)).sum()

  args = jnp.array(REWARDS), jnp.array(old)
  np.testing.assert_allclose(loss(*args), reference(REWARDS), rtol=1e-5)
  by_rewards, by_old = jax.grad(loss, argnums=(0, 1))(*args)
  np.testing.assert_allclose(by_rewards, finite_difference(reference, REWARDS), atol=1e-5)
  assert not by_old.any()


def test_detached_dpo_without_the_other_side_is_the_cross_entropy():
  args = jnp.array(REWARDS), jnp.array(IDS), jnp.ones(5, bool)
  for outcomes in (jnp.ones(5), jnp.zeros(5)):
    losses = reward_model.detached_dpo(args[0], args[0], outcomes, *args[1:])
    np.testing.assert_allclose(losses, reward_model.binary_cross_entropy(args[0], outcomes, args[2]), rtol=1e-6)


def test_best_of_n_weights_count_ties_and_only_scored_rows():
  scores, ids = jnp.array([0.1, 0.9, 0.9, jnp.nan, 0.5]), jnp.array([3, 3, 3, 3, -8])
  weights = reward_model.best_of_n_weights(scores, ids, jnp.array([True, True, True, False, True]))
  np.testing.assert_allclose(weights, [3 * (1 / 3) ** 2, 3, 3, 0, 1], rtol=1e-6)


def test_pair_accuracy_by_hand():
  mask = jnp.array([True] * 5)
  # Pairs of group 3, with weights: (0, 1) 1 right, (0, 2) .5 wrong, (0, 3) 1 right, (1, 2) .5 right, (1, 3) none,
  # (2, 3) .5 right. The group of one has no pair.
  accuracy = reward_model.pair_accuracy(jnp.array(REWARDS), jnp.array(OUTCOMES), jnp.array(IDS), mask)
  assert accuracy.value.item() == pytest.approx((3 / 3.5 + 0.5) / 2)
  assert accuracy.weight.item() == pytest.approx(2)


@pytest.mark.parametrize(("outcomes", "later"), [([1.0, 0.0], 0.0), ([0.0, 1.0], 1.0)])
def test_equal_scores_count_half_and_in_the_code_for_the_later_row(outcomes, later):
  args = jnp.zeros(2), jnp.array(outcomes), jnp.array([4, 4]), jnp.ones(2, bool)
  assert pair_accuracy_by_order(*args).value == later
  assert reward_model.pair_accuracy(*args).value == 0.5


def test_pair_accuracies_of_micro_batches_add():
  def accuracy(rows):
    mask = jnp.ones(len(rows), bool)
    return reward_model.pair_accuracy(jnp.array(REWARDS[rows]), jnp.array(OUTCOMES[rows]), jnp.array(IDS[rows]), mask)

  whole, a, b = accuracy([0, 1, 2, 3, 4]), accuracy([0, 1, 2, 3]), accuracy([4])
  np.testing.assert_allclose(whole, jnp.add(jnp.array(a), jnp.array(b)), rtol=1e-6)


def test_pairs_that_tie_pull_together():
  """Bradley-Terry, with a gradient of sigmoid(r_1 - r_2) - (1 - q)."""
  first, second = jnp.array([1.0, 1.0, 1.0, 1.0]), jnp.array([0.0, 0.0, 0.0, 1.0])
  args = second, jnp.array([0, 1, 3, 2]), jnp.ones(4)
  losses = reward_model.bradley_terry(first, *args)
  expected = [np.log1p(np.exp(-1)), np.log1p(np.exp(1)), (np.log1p(np.exp(-1)) + np.log1p(np.exp(1))) / 2, np.log(2)]
  np.testing.assert_allclose(losses, expected, rtol=1e-6)
  gradient = jax.grad(lambda r: reward_model.bradley_terry(r, *args).sum())(first)
  np.testing.assert_allclose(gradient, 1 / (1 + np.exp([-1, -1, -1, 0])) - np.array([1, 0, 0.5, 0.5]), atol=1e-6)


def test_nobody_scored():
  nobody = jnp.zeros(5, bool)
  args = jnp.array(REWARDS), jnp.array(OUTCOMES), jnp.array(IDS), nobody
  assert reward_model.pair_accuracy(*args).value == 0
  assert masked_mean(reward_model.binary_cross_entropy(args[0], args[1], nobody), nobody).value == 0


def _outcomes(rng, shape):
  """Both sides of every threshold, with ties."""
  return rng.choice([0.0, 0.25, 1.0], shape).astype(np.float32)


LABELS = {"labels": _outcomes}
RANKED = {"scores": "B", "outcomes": "B", "group_ids": "B", "mask": "B"}

KERNELS = [
  Kernel(
    reward_model.binary_cross_entropy,
    {"logits": "BS", "labels": "BS", "mask": "BS"},
    gradients=("logits",),
    draws=LABELS,
  ),
  Kernel(
    reward_model.bradley_terry,
    {"first": "B", "second": "B", "labels": "B", "mask": "B"},
    gradients=("first", "second"),
    draws={"labels": lambda rng, shape: rng.integers(0, 4, shape).astype(np.int32)},
  ),
  Kernel(reward_model.class_balanced_weights, {"labels": "B", "mask": "B"}, scope="batch", draws=LABELS),
  Kernel(
    reward_model.detached_dpo,
    {"rewards": "B", "old_rewards": "B", "outcomes": "B", "group_ids": "B", "mask": "B"},
    scope="group",
    gradients=("rewards",),
    draws={"outcomes": _outcomes},
  ),
  Kernel(reward_model.best_of_n_weights, {"scores": "B", "group_ids": "B", "mask": "B"}, scope="group"),
  Kernel(
    reward_model.pair_accuracy,
    RANKED,
    scope="group",
    draws={"outcomes": _outcomes, "scores": _outcomes},
  ),
]
