from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages import process
from rl_jax.kernels.advantages.group import grpo, rloo
from rl_jax.kernels.advantages.returns import gae
from rl_jax.kernels.reductions import per_token, whiten
from tests.kernels.kernel import Kernel
from tests.kernels.papers.as_released import prime_scaled

REWARDS = jnp.array([[0.5, jnp.nan, 1.0], [-1.0, 0.5, 0.0], [0.25, 0.25, 0.5], [jnp.nan] * 3, [jnp.nan] * 3])
OUTCOMES = jnp.array([1.0, 0.0, 1.0, 1.0, jnp.nan])
IDS = jnp.array([7, 7, 7, 7, 7])
ROWS = jnp.array([True, True, True, True, False])
TOKENS = jnp.array([[1, 0, 1], [1, 1, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1]])
ARGS = REWARDS, OUTCOMES, IDS, ROWS, TOKENS


def loops(variant, discount, outcome_discount):
  """Returns before whitening, row by row; the empty and the unscored row are no part of the group."""
  rows = [[0.5, 1.0], [-1.0, 0.5, 0.0], [0.25, 0.25]]
  slots = [[0, 2], [0, 1, 2], [0, 1]]
  means, outcomes = [np.mean(r) for r in rows], [1.0, 0.0, 1.0]
  returns = np.zeros((5, 3))
  for i, row in enumerate(rows):
    others = [j for j in range(3) if j != i]
    if variant == "paper":
      centred = [r - np.mean([means[j] for j in others]) for r in row]
    else:
      centred = [r * 3 / 2 - sum(means) / 2 for r in row]
    outcome = outcomes[i] - np.mean([outcomes[j] for j in others])
    for t, slot in enumerate(slots[i]):
      later = sum(discount ** (s - t) * centred[s] for s in range(t, len(row)))
      returns[i, slot] = later + outcome_discount ** (len(row) - 1 - t) * outcome
  return returns


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_returns_against_loops(variant):
  prime = {"code": prime_scaled, "paper": process.prime}[variant]
  result = prime(*ARGS, discount=0.9, outcome_discount=0.8)
  expected = loops(variant, 0.9, 0.8)
  np.testing.assert_allclose(result.returns, expected, rtol=1e-5, atol=1e-6)
  real = expected[expected != 0]
  assert len(real) == 7
  whitened = np.where(expected != 0, (expected - real.mean()) / np.sqrt(real.var(ddof=1) + 1e-8), 0)
  np.testing.assert_allclose(result.advantages, whitened, rtol=1e-5, atol=1e-6)


def test_an_untrained_reward_model_gives_whitened_leave_one_out_outcomes():
  tokens = TOKENS * ROWS[:, None]
  scored = ROWS & (tokens.sum(axis=1) > 0)
  expected = per_token(rloo(OUTCOMES, IDS, scored), tokens)
  result = process.prime(0 * TOKENS.astype(float), OUTCOMES, IDS, ROWS, TOKENS)
  np.testing.assert_array_equal(result.returns, expected)
  np.testing.assert_array_equal(result.advantages, whiten(expected, tokens))


def test_without_process_rewards_each_variant_is_its_outcome_method():
  zeros = jnp.zeros((5, 3))
  values = jnp.arange(15.0).reshape(5, 3) / 10
  tokens = TOKENS * ROWS[:, None]
  scored = tokens.any(axis=1)
  outcomes = jnp.nan_to_num(OUTCOMES)
  np.testing.assert_array_equal(process.process_reinforce(zeros, outcomes, tokens), per_token(outcomes, tokens))
  np.testing.assert_array_equal(process.process_value(zeros, outcomes, tokens), per_token(outcomes, tokens))
  grouped = process.process_grpo(zeros, OUTCOMES, IDS, ROWS, TOKENS)
  np.testing.assert_allclose(grouped, per_token(grpo(OUTCOMES, IDS, scored), tokens), rtol=1e-6)
  last = jnp.array([[0, 0, 1], [0, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 0]]) * outcomes[:, None]
  np.testing.assert_array_equal(
    process.process_ppo(zeros, outcomes, values, tokens, discount=0.9, lam=0.8),
    gae(last, values, tokens, discount=0.9, lam=0.8).advantages,
  )


def test_the_model_as_critic_by_hand():
  rewards, mask = jnp.array([[0.5, 9.0, 0.25, -0.5]]), jnp.array([[1, 0, 1, 1]])
  outcome = jnp.array([1.0])
  np.testing.assert_allclose(process.process_value(rewards, outcome, mask), [[1, 0, 0.5, 0.25]])
  # lam 0: each token its own reward, the last one what is left to the outcome.
  np.testing.assert_allclose(process.process_value(rewards, outcome, mask, lam=0.0), [[0.5, 0, 0.25, 0.25]])


def test_equal_outcomes_keep_their_process_part():
  result = process.prime(REWARDS, jnp.ones(5), IDS, ROWS, TOKENS)
  assert jnp.abs(result.returns[0, 0]) > 0.1


def test_groups_of_one_and_batches_of_one_token():
  rewards, one, ids, scored = jnp.array([[0.5, 1.0]]), jnp.array([1.0]), jnp.array([3]), jnp.array([True])
  args = rewards, one, ids, scored, jnp.ones((1, 2))
  np.testing.assert_allclose(process.prime(*args).returns, [[2.5, 2.0]])
  np.testing.assert_allclose(process.prime(*args, singleton="zero").returns, [[0.0, 0.25]], atol=1e-7)
  single = process.prime(rewards, one, ids, scored, jnp.array([[0, 1]]))
  np.testing.assert_array_equal(single.advantages, [[0, 0]])
  # Mean 0.75, std 1.
  np.testing.assert_allclose(process.process_grpo(*args, eps=0.0), [[1.0, 1.25]])


def test_errors():
  with pytest.raises(ValueError, match=r"process_grpo: expected arrays of one shape \[B T\]"):
    process.process_grpo(REWARDS, OUTCOMES, IDS, ROWS, TOKENS[:, :2])


ROW_AXES = {"token_rewards": "BT", "outcomes": "B", "mask": "BT"}
GROUPS = {"token_rewards": "BT", "outcomes": "B", "group_ids": "B", "mask": "B", "token_mask": "BT"}
TOKEN_COVERS = {"token_rewards": "token_mask"}

KERNELS = [
  Kernel(process.prime, GROUPS, {"discount": 0.9}, scope="batch", covers=TOKEN_COVERS),
  Kernel(process.prime, GROUPS, {"singleton": "zero"}, scope="batch", covers=TOKEN_COVERS),
  Kernel(process.process_reinforce, ROW_AXES, {"discount": 0.9}),
  Kernel(process.process_grpo, GROUPS, scope="group", covers=TOKEN_COVERS),
  Kernel(process.process_ppo, {**ROW_AXES, "values": "BT"}, {"discount": 0.9}),
  Kernel(process.process_value, ROW_AXES, {"lam": 0.9}),
]
