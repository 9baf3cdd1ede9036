from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.advantages.reweighting import adora, adora_damping, adora_weights
from tests.kernels.kernel import Kernel
from tests.kernels.papers.as_released import adora_openrlhf

# One group each: the longest correct response is 6, the mean of the wrong ones 6 with the long one, 4 without it.
REWARDS = jnp.array([1.0, 1.0, 0.0, 0.0])
LENGTHS = jnp.array([6, 2, 4, 8])
IDS = jnp.array([7, 7, 7, 7])
SCORED = jnp.ones(4, bool)


def weight(rewards=REWARDS, lengths=LENGTHS, mask=SCORED, *, of=adora_weights, **options):
  weights = of(rewards, lengths, IDS, mask, **options)
  np.testing.assert_array_equal(weights, np.where(mask, weights[0], 0))
  return float(weights[0])


def test_the_longest_success_must_be_longer_than_the_mean_failure():
  assert weight(of=adora_damping) == pytest.approx(0.1)
  # Responses that were cut off are left out of the mean; the cap itself counts as cut off.
  assert weight(of=adora_damping, length_cap=8) == 1
  assert weight(of=adora_damping, lengths=jnp.array([7, 2, 4, 8])) == 1


@pytest.mark.parametrize(
  ("lengths", "rewards", "expected"),
  [
    ([6, 2, 4, 8], [1, 1, 0, 0], {"and": 1, "or": 2, "length": 1, "difficulty": 2}),
    ([9, 2, 4, 8], [1, 1, 0, 0], {"and": 2, "or": 2, "length": 2, "difficulty": 2}),
    ([9, 2, 4, 8], [1, 1, 0, 1], {"and": 1, "or": 2, "length": 2, "difficulty": 1}),
  ],
)
def test_combinations_of_length_and_difficulty(lengths, rewards, expected):
  args = jnp.array(rewards, jnp.float32), jnp.array(lengths)
  assert {combine: weight(*args, combine=combine) for combine in expected} == expected


@pytest.mark.parametrize(
  ("rewards", "expected"),
  [
    ([0, 0, 0, 0], [1, 0.1, 1]),  # no correct response
    ([1, 1, 1, 1], [1, 1, 0.1]),  # no wrong one
    ([1, 1, 1, 0], [1, 1, 0.1]),  # only one that was cut off, which still counts in the share
  ],
)
def test_forms_differ_where_a_side_is_empty(rewards, expected):
  rewards = jnp.array(rewards, jnp.float32)
  weights = [weight(rewards, of=of, length_cap=8) for of in (adora_weights, adora_damping, adora_openrlhf)]
  np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_a_response_cut_off_counts_in_the_share():
  rewards, lengths = jnp.array([1.0, 0.0, 0.0, 1.0]), jnp.array([9, 20, 20, 3])
  assert weight(rewards, lengths, length_cap=20, success_threshold=0.5) == 2
  assert weight(rewards, lengths, length_cap=20, success_threshold=0.49) == 1


def test_unscored_rows_do_not_count():
  mask = jnp.array([True, True, True, False])
  assert weight(REWARDS.at[3].set(jnp.nan), LENGTHS, mask, of=adora_damping) == 1


def test_the_threshold_keeps_its_digits_in_half_precision():
  rewards = jnp.array([1.0078125, 0.0, 0.0, 0.0], jnp.bfloat16)  # 1.01 in bfloat16
  assert weight(rewards, of=adora_openrlhf, correct_threshold=1.005) == pytest.approx(1)
  assert weight(rewards, of=adora_damping, correct_threshold=1.01) == pytest.approx(0.1)


def test_weight_one_is_grpo_and_groups_of_one():
  ids, ones = jnp.array([7, 7, 7, 9]), jnp.ones(4)
  rewards = jnp.array([1.0, 0.0, 0.3, 0.7])
  np.testing.assert_array_equal(adora(rewards, ones, ids, SCORED), grpo(rewards, ids, SCORED, singleton="zero"))
  raw = adora(rewards, 2 * ones, ids, SCORED, singleton="raw")
  assert raw[3] == pytest.approx(1.4, rel=1e-7)
  assert not adora(0.1 * ones, 2 * ones, IDS, SCORED).any()


def test_unknown_names_list_the_known():
  with pytest.raises(ValueError, match="unknown combine 'xor'; known: and, or, length, difficulty"):
    weight(combine="xor")


ROWS = {"rewards": "B", "lengths": "B", "group_ids": "B", "mask": "B"}

KERNELS = [
  Kernel(adora_weights, ROWS, {"combine": "or"}, scope="group"),
  Kernel(adora_damping, ROWS, {"length_cap": 200.0}, scope="group"),
  Kernel(adora, {"rewards": "B", "group_weights": "B", "group_ids": "B", "mask": "B"}, scope="group"),
]
