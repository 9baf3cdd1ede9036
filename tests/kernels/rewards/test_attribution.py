from __future__ import annotations

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.rewards import attribution
from tests.kernels.kernel import Kernel

AND = jnp.array([[0, 0, 0, 0, 0, 0, 0, 1.0]])
THREE = jnp.ones((1, 3))


def test_worked_example():
  np.testing.assert_allclose(attribution.shapley(AND, THREE), [[1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)
  np.testing.assert_allclose(attribution.owen(AND, jnp.array([[0, 0, 1]]), THREE), [[0.25, 0.25, 0.5]], rtol=1e-6)


def test_token_rewards_of_the_worked_example():
  logprobs = jnp.array([[-1.0, -0.5, -0.2, -0.9, -0.3, jnp.nan]])
  ref_logprobs = jnp.array([[-1.1, -0.4, -0.2, -1.0, -0.5, 0.0]])
  credits, unit_ids, mask = jnp.array([[0.2, 0.5, 0.1]]), jnp.array([[0, 0, 1, 2, 2, 2]]), jnp.array([[1] * 5 + [0]])
  args = credits, unit_ids, jnp.array([0.8]), logprobs, ref_logprobs, mask
  rewards = attribution.scar_rewards(*args, alpha=0.8, kl_coef=0.1)
  np.testing.assert_allclose(rewards, [[-0.01, 0.17, 0.4, -0.01, 0.22, 0]], atol=1e-6)
  sparse = attribution.scar_rewards(*args, alpha=0.0, kl_coef=0.0)
  np.testing.assert_allclose(sparse, [[0, 0, 0, 0, 0.8, 0]], rtol=1e-6)


def marginals(values, order):
  """What each unit adds to the units before it in an order."""
  credit, coalition = np.zeros(len(order)), 0
  for unit in order:
    credit[unit] = values[coalition | 1 << unit] - values[coalition]
    coalition |= 1 << unit
  return credit


def contiguous(order, blocks):
  """Whether the units of each block are neighbours in an order."""
  seen = [blocks[unit] for unit in order]
  return all(
    max(places) - min(places) + 1 == len(places)
    for b in set(blocks)
    for places in [[k for k, x in enumerate(seen) if x == b]]
  )


@pytest.mark.parametrize("blocks", [(0, 0, 0, 0, 0), (9, -4, 9, 9, -4), (0, 1, 2, 1, 1), (4, 3, 2, 1, 0)])
def test_owen_is_the_mean_over_the_orders_that_keep_blocks_together(blocks):
  values = np.random.default_rng(0).normal(size=32)
  orders = [order for order in permutations(range(5)) if contiguous(order, blocks)]
  expected = np.mean([marginals(values, order) for order in orders], axis=0)
  with jax.enable_x64(True):
    actual = attribution.owen(jnp.array(values)[None], jnp.array([blocks]), jnp.ones((1, 5)))[0]
  np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_units_that_do_not_exist_leave_the_smaller_game():
  values = np.random.default_rng(1).normal(size=8).astype(np.float32)
  # Bits 1, 3 and 4 are the units of the game; every coalition with another unit holds garbage.
  large = np.full(32, np.nan, np.float32)
  large[[a << 1 | b << 3 | c << 4 for c in (0, 1) for b in (0, 1) for a in (0, 1)]] = values
  for small_blocks, blocks in (([5, 5, 5], [0, 5, 0, 5, 5]), ([5, 5, 0], [0, 5, 5, 5, 0])):
    expected = attribution.owen(jnp.array([values]), jnp.array([small_blocks]), THREE)[0]
    actual = attribution.owen(jnp.array([large]), jnp.array([blocks]), jnp.array([[0, 1, 0, 1, 1]]))[0]
    np.testing.assert_allclose(actual, [0, expected[0], 0, expected[1], expected[2]], rtol=1e-5)


def test_all_orders_give_the_shapley_value_and_each_order_is_efficient():
  values = jnp.array(np.random.default_rng(2).normal(size=(1, 8)), jnp.float32)
  orders = jnp.array([list(permutations(range(3)))])
  prefixes = attribution.prefix_values(values, orders, THREE)
  actual = attribution.permutation_shapley(prefixes, orders, THREE)
  np.testing.assert_allclose(actual, attribution.shapley(values, THREE), atol=1e-6)
  one = attribution.permutation_shapley(prefixes[:, 3:4], orders[:, 3:4], THREE)
  np.testing.assert_allclose(one.sum(), values[0, 7] - values[0, 0], atol=1e-6)
  # The unit that does not exist is passed over wherever it stands in the order.
  two = jnp.array([[1, 0, 1]])
  actual = attribution.permutation_shapley(attribution.prefix_values(values, orders, two), orders, two)
  np.testing.assert_allclose(actual, attribution.shapley(values, two), atol=1e-6)


def test_degenerate_games():
  np.testing.assert_array_equal(attribution.shapley(jnp.full((1, 8), 0.7), THREE), [[0, 0, 0]])
  np.testing.assert_allclose(attribution.shapley(jnp.array([[0.2, 1.0]]), jnp.ones((1, 1))), [[0.8]], rtol=1e-6)
  np.testing.assert_array_equal(attribution.shapley(AND, jnp.zeros((1, 3))), [[0, 0, 0]])


def test_returns_differ_from_the_sparse_ones_by_the_empty_responses_score():
  values = jnp.array(np.random.default_rng(3).normal(size=(2, 4)), jnp.float32)
  credits = attribution.shapley(values, jnp.ones((2, 2)))
  ids, x = jnp.array([[0, 1, 1], [0, 0, 1]]), jnp.zeros((2, 3))
  rewards = attribution.scar_rewards(credits, ids, values[:, 3], x, x, jnp.ones((2, 3)), alpha=0.6, kl_coef=0.1)
  np.testing.assert_allclose(rewards.sum(axis=1), values[:, 3] - 0.6 * values[:, 0], atol=1e-6)


def test_a_table_of_the_wrong_size():
  with pytest.raises(ValueError, match=r"expected values \[B, 2\^S\] = \(1, 8\), got \(1, 4\)"):
    attribution.shapley(jnp.ones((1, 4)), THREE)


SIZES = {"U": 3, "C": 8, "P": 2, "O": 4}  # U units, C = 2^U coalitions, P orders with O = U + 1 prefixes
GAME = {"values": "BC", "mask": "BU"}


def _orders(rng, shape):
  return rng.permuted(np.broadcast_to(np.arange(shape[-1]), shape), axis=-1).astype(np.int32)


def _blocks(rng, shape):
  return rng.integers(-1, 1, shape).astype(np.int32)


KERNELS = [
  Kernel(attribution.shapley, GAME, sizes=SIZES),
  Kernel(attribution.owen, {**GAME, "block_ids": "BU"}, sizes=SIZES, draws={"block_ids": _blocks}),
  Kernel(
    attribution.prefix_values,
    {"values": "BC", "orders": "BPU", "mask": "BU"},
    sizes=SIZES,
    draws={"orders": _orders},
    zero_masked=False,
  ),
  Kernel(
    attribution.permutation_shapley,
    {"values": "BPO", "orders": "BPU", "mask": "BU"},
    sizes=SIZES,
    draws={"orders": _orders},
  ),
  Kernel(
    attribution.scar_rewards,
    {
      "credits": "BS",
      "unit_ids": "BT",
      "terminal_rewards": "B",
      "logprobs": "BT",
      "ref_logprobs": "BT",
      "mask": "BT",
    },
    {"alpha": 0.8, "kl_coef": 0.1},
    draws={"unit_ids": lambda rng, shape: np.sort(rng.integers(-1, 4, shape), axis=-1).astype(np.int32)},
  ),
]
