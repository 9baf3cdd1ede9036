from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages.returns import bi_level_gae, gae, length_adaptive_lambda, reinforce_pp, turn_gae
from rl_jax.kernels.scans import discounted_sums
from tests.kernels.kernel import Kernel

RNG = np.random.default_rng(0)
REWARDS, VALUES = RNG.normal(size=(2, 4, 6))
MASK = np.array([[0, 1, 1, 1, 1, 1], [0, 1, 0, 0, 1, 0], [1, 1, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0]])


def test_by_hand():
  estimate = gae(jnp.array([[0.0, 9.0, 1.0]]), jnp.array([[0.5, 9.0, 0.25]]), jnp.array([[1, 0, 1]]), lam=0.5)
  np.testing.assert_allclose(estimate.advantages, [[0.25 - 0.5 + 0.5 * 0.75, 0, 0.75]])
  np.testing.assert_allclose(estimate.returns, [[0.625, 0, 1.0]])


@pytest.mark.parametrize("repeats", [1, 100])
@pytest.mark.parametrize("discount, lam", [(1.0, 1.0), (0.9, 0.8), (0.9, 0.0)])
def test_masked_slots_are_as_if_they_were_not_there(discount, lam, repeats):
  """A loop over only the unmasked slots, with a bootstrap."""
  bootstrap = np.array([0.0, 2.0, -1.0, 3.0])
  rewards, values, mask = (np.tile(x, (1, repeats)) for x in (REWARDS, VALUES, MASK))
  expected = np.zeros(mask.shape)
  for i, row in enumerate(mask):
    advantage, value = 0.0, bootstrap[i]
    for t in reversed(np.flatnonzero(row)):
      advantage = rewards[i, t] + discount * value - values[i, t] + discount * lam * advantage
      expected[i, t], value = advantage, values[i, t]
  with jax.enable_x64(True):
    args = jnp.array(rewards), jnp.array(values), jnp.array(mask)
    estimate = gae(*args, discount=discount, lam=lam, bootstrap=jnp.array(bootstrap))
    by_slot = gae(*args, discount=discount, lam=jnp.full(mask.shape, lam), bootstrap=jnp.array(bootstrap))
    by_row = gae(*args, discount=discount, lam=jnp.full(4, lam), bootstrap=jnp.array(bootstrap))
  np.testing.assert_allclose(estimate.advantages, expected, atol=1e-12)
  np.testing.assert_allclose(estimate.returns, (expected + values) * mask, atol=1e-12)
  for other in (by_row, by_slot):
    np.testing.assert_allclose(estimate.advantages, other.advantages, atol=1e-14)


def test_lambda_one_is_monte_carlo_and_lambda_zero_one_step():
  args = jnp.array(REWARDS), jnp.array(VALUES), jnp.array(MASK)
  sums = discounted_sums(args[0], args[2], discount=0.9)
  np.testing.assert_allclose(gae(*args, discount=0.9).returns, sums, atol=1e-5)
  last = gae(*args, lam=0.0).advantages[0, -1]
  np.testing.assert_allclose(last, REWARDS[0, -1] - VALUES[0, -1], rtol=1e-5)


def test_no_gradient():
  def total(rewards, values):
    estimate = gae(rewards, values, jnp.array(MASK))
    return (estimate.advantages + estimate.returns + reinforce_pp(rewards, jnp.array(MASK))).sum()

  for gradient in jax.grad(total, argnums=(0, 1))(jnp.array(REWARDS), jnp.array(VALUES)):
    assert not gradient.any()


# Over turns: a prompt, a turn of two tokens, a tool's token between two others of the next, a row without turns.
TURN_IDS = jnp.array([[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0]])
OF_TURNS = jnp.array([[0, 1, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0]])
TOKEN_REWARDS = jnp.array([[9.0, 0.0, 0.5, 0.0, 9.0, 1.0], [jnp.nan] * 6])
TOKEN_VALUES = jnp.array([[9.0, 0.25, 0.75, 0.5, 9.0, 0.125], [jnp.nan] * 6])
TURNS = TOKEN_REWARDS, TOKEN_VALUES, TURN_IDS, OF_TURNS


def test_a_turn_has_one_value_and_one_advantage():
  """Values 0.25 and 0.5 at the turns' starts: deltas 0.5 + 0.4 - 0.25 = 0.65 and 1 - 0.5 = 0.5."""
  estimate = turn_gae(*TURNS, num_turns=2, discount=0.8, lam=0.5)
  first = 0.65 + 0.8 * 0.5 * 0.5
  np.testing.assert_allclose(estimate.advantages, [[0, first, first, 0.5, 0, 0.5], [0] * 6], rtol=1e-6)
  np.testing.assert_allclose(estimate.returns, [[0, first + 0.25, 0, 1, 0, 0], [0] * 6], rtol=1e-6)
  np.testing.assert_array_equal(estimate.has_target, [[0, 1, 0, 1, 0, 0], [0] * 6])


def test_bi_level_by_hand():
  """Values 0.75 and 0.125 at the turns' ends; from there back, 0.5 of what the next token's value is worth."""
  high, low = {"discount": 0.8, "lam": 0.5}, {"token_discount": 0.5, "token_lam": 0.25}
  estimate = bi_level_gae(*TURNS, num_turns=2, **high, **low)
  second = 1 - 0.125
  first = 0.5 + 0.8 * 0.125 - 0.75 + 0.4 * second
  expected = [0, 0.375 - 0.25 + 0.125 * first, first, 0.0625 - 0.5 + 0.125 * second, 0, second]
  np.testing.assert_allclose(estimate.advantages, [expected, [0] * 6], rtol=1e-6)
  values = np.array([0, 0.25, 0.75, 0.5, 0, 0.125])
  np.testing.assert_allclose(estimate.returns, [expected + values, [0] * 6], rtol=1e-6)


def test_turns_of_one_token_and_four_ones_are_gae():
  slots, mask = jnp.broadcast_to(jnp.arange(6), MASK.shape), jnp.array(MASK)
  args = jnp.array(REWARDS), jnp.array(VALUES), slots, mask
  plain = gae(args[0], args[1], mask, discount=0.9, lam=0.8)
  for of_turns in (turn_gae, bi_level_gae):
    estimate = of_turns(*args, num_turns=6, discount=0.9, lam=0.8)
    np.testing.assert_allclose(estimate.advantages, plain.advantages, atol=1e-6)
    np.testing.assert_allclose(estimate.returns, plain.returns, atol=1e-6)
  ends_only = jnp.array(REWARDS) * jnp.array([0, 0, 0, 0, 0, 1]) * mask  # rewards within a turn are at its end
  found = bi_level_gae(ends_only, args[1], slots // 3, mask, num_turns=2)
  np.testing.assert_allclose(found.advantages, gae(ends_only, args[1], mask).advantages, atol=1e-6)


OVER_TURNS = {"token_rewards": "BT", "values": "BT", "turn_ids": "BT", "mask": "BT"}

KERNELS = [
  Kernel(
    gae,
    {"token_rewards": "BT", "values": "BT", "mask": "BT", "lam": "B", "bootstrap": "B"},
    {"discount": 0.9},
  ),
  Kernel(turn_gae, OVER_TURNS, {"num_turns": 4, "discount": 0.9, "lam": 0.8}),
  Kernel(bi_level_gae, OVER_TURNS, {"num_turns": 4, "discount": 0.9, "lam": 0.8, "token_lam": 0.7}),
  Kernel(length_adaptive_lambda, {"lengths": "B"}, mask=None),
  Kernel(reinforce_pp, {"token_rewards": "BT", "mask": "BT"}, scope="batch"),
]
