"""SCAR: the spec's worked examples, credits on words in cipher, what stays of the outcome, and two iterations."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.methods import ppo, scar
from rl_jax.methods.method import ModelRole, check_options
from rl_jax.rollouts.blanked import blanked
from rl_jax.rollouts.coalitions import every_coalition, random_orders
from rl_jax.tasks import cipher
from tests.methods.batches import batch_of, config_of
from tests.methods.two_iterations import assert_whole, two_iterations
from tests.rollouts import in_cipher
from tests.rollouts.in_cipher import BONUS, LETTERS, TEXTS, USED, WEIGHTS, points, units_of, without
from tests.training import every_method

PLAIN = {"lam": 0.0, "whiten": False}
"""With values of 0 the advantage of a token is then its own reward."""
RNG = np.random.default_rng(0)


def built(task=None, **options):
  return scar.build(config_of(scar, **options), task or in_cipher.task())


def game(values, **fields):
  """One row of six tokens, the last outside, in three spans of two, one and two; `values` of all coalitions."""
  values = np.float32([values])
  extras = {
    "unit_ids": [[0, 0, 1, 2, 2, -1]], "unit_mask": np.ones((1, 3), bool), "valued": np.ones(1, bool),
    "coalition_values": values, "empty_values": values[:, 0], "values": np.zeros((1, 6), np.float32),
  }  # fmt: skip
  return batch_of([[1, 1, 1, 1, 1, 0]], **{"rewards": values[:, -1], "extras": extras} | fields)


def rewards_of(rows, task=None, **options):
  """Rewards of tokens."""
  signal = jax.jit(built(task, **{"max_spans": 3} | PLAIN | options).signal)
  return np.asarray(signal(rows, jnp.int32(0)).streams["policy"].targets)


AND = [0, 0, 0, 0, 0, 0, 0, 1]
ADDITIVE = [0, 0.2, 0.5, 0.7, 0.1, 0.3, 0.6, 0.8]
PAIRED = [0.1, 0.3, 0.5, 0.9, 0.2, 0.2, 0.4, 0.8]
"""A game with a value of nothing."""


# Hand-computed.


def test_the_worked_example_of_the_spec():
  """Credits .2, .5 and .1, alpha .8, beta .1."""
  rows = game(
    ADDITIVE, old_logprobs=np.float32([[-1, -0.5, -0.2, -0.9, -0.3, 9]]),
    ref_logprobs=np.float32([[-1.1, -0.4, -0.2, -1, -0.5, 9]]),
  )  # fmt: skip
  method = built(max_spans=3, alpha=0.8, kl_in_reward=0.1, **PLAIN)
  streams, metrics = jax.jit(method.signal)(rows, jnp.int32(0))
  wanted = np.float32([[-0.01, 0.17, 0.4, -0.01, 0.22, 0]])
  np.testing.assert_allclose(streams["policy"].targets, wanted, atol=1e-6)
  np.testing.assert_allclose(streams["value"].targets, wanted, atol=1e-6)
  np.testing.assert_array_equal(streams["policy"].weights, rows.loss_mask)
  np.testing.assert_allclose(metrics["credit_spread"].value, (0.2 / 3 + 0.7 / 3 + 0.5 / 3) / 3, rtol=1e-5)
  assert metrics["spans"].value == 3 and metrics["empty_value"].value == 0
  np.testing.assert_allclose(metrics["value_error"].value, np.square(wanted[0, :5]).mean(), rtol=1e-5)
  assert method.models["reference"] == ModelRole(trained=False, init_from="policy")
  assert method.scoring == {"ref_logprobs": ("reference", "logprobs"), "values": ("critic", "values")}


@pytest.mark.parametrize(
  ("credit", "wanted"), [("shapley", [1 / 3] * 3), ("uniform", [1 / 3] * 3), ("owen", [1 / 4, 1 / 4, 1 / 2])]
)
def test_all_or_nothing_is_an_equal_split_but_for_blocks(credit, wanted):
  found = rewards_of(game(AND), credit=credit)
  np.testing.assert_allclose(found, [[0, wanted[0], wanted[1], 0, wanted[2], 0]], rtol=1e-6)


def test_potentials_by_hand():
  """v of the first 0, 1, 2 spans is .1, .3, .9; the outcome .8 less them."""
  found = rewards_of(game(PAIRED), alpha=0.0, shaping="potential")
  np.testing.assert_allclose(found, [[0, 0.2, 0.6, 0, -0.1, 0]], atol=1e-6)
  found = rewards_of(game(PAIRED), alpha=0.0, shaping="potential", discount=0.5, shaping_coefficient=2.0)
  shaped = [0.05 - 0.1, 0.15 - 0.1, 0.45 - 0.3, 0.45 - 0.9, -0.9, 0]
  np.testing.assert_allclose(found, [2 * np.array(shaped) + [0, 0, 0, 0, 0.8, 0]], atol=1e-6)


def test_closeness_to_the_best_state_by_hand():
  """States 0, 1, 2, 3 of one row and 0, 4, 5, 6 of the other: a path from 3 to 6. The goal is 3."""
  rows = jax.tree.map(lambda *x: jnp.concatenate(x), game(ADDITIVE), game([0.0] * 8))
  found = rewards_of(rows, shaping="graph", alpha=0.0) - np.where(np.arange(6) == 4, [[0.8], [0]], 0)
  edges = np.zeros((7, 7))
  for a, b in ((0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6)):
    edges[a, b] = edges[b, a] = 1
  scales, vectors = np.linalg.eigh(edges)
  near = (vectors * np.maximum(scales, 0)) @ vectors.T
  wanted = [[0, near[1, 3], near[2, 3], 0, near[3, 3], 0], [0, near[4, 3], near[5, 3], 0, near[6, 3], 0]]
  np.testing.assert_allclose(found, wanted, atol=1e-5)
  assert near[2, 3] > near[1, 3] and near[2, 3] > 0.3


# On words in cipher, against loops over coalitions of text.


@functools.cache
def valued(bonus=BONUS, orders=0, reward="additive"):
  """(task, rows with their values)."""
  task = cipher.build(
    {**cipher.get_config(), "levels": {"four": {"letters": LETTERS}}, "pair_bonus": bonus, "reward": reward}
  )
  some = random_orders(LETTERS, orders) if orders else every_coalition(LETTERS)
  rows, *_ = in_cipher.left_by(blanked(task, in_cipher.rollout(), some, LETTERS), task)
  critic = {"values": jnp.zeros(rows.tokens.shape)}
  return task, rows.replace(extras=rows.extras | critic)


def credits_of(rows, found, row):
  """Credits of the units of a row of words, from rewards of tokens."""
  ids = np.asarray(rows.extras["unit_ids"])[row]
  return [found[row][ids == unit][-1] for unit in range(units_of(row))]


def test_credits_are_mean_contributions_over_all_orders_of_blanked_text():
  task, rows = valued()
  found = rewards_of(rows, task, max_spans=LETTERS)
  for row in np.flatnonzero(USED):
    units = range(units_of(row))
    orders = list(itertools.permutations(units))
    wanted = np.zeros(len(units))
    for order in orders:
      for place, unit in enumerate(order):
        wanted[unit] += points(without(row, order[: place + 1])) - (points(without(row, order[:place])) if place else 0)
    np.testing.assert_allclose(credits_of(rows, found, row), wanted / len(orders), atol=1e-6, err_msg=TEXTS[row])


def test_without_pairs_each_symbol_earns_its_own_weight():
  task, rows = valued(bonus=0)
  found = rewards_of(rows, task, max_spans=LETTERS)
  for row in np.flatnonzero(USED):
    wanted = [w / 7 * (s == "R") for w, s in zip(WEIGHTS, TEXTS[row].ljust(LETTERS, "_"), strict=False)]
    np.testing.assert_allclose(credits_of(rows, found, row), wanted[: units_of(row)], atol=1e-6, err_msg=TEXTS[row])


def test_on_all_or_nothing_it_is_the_uniform_split():
  """The negative control: the same streams."""
  task, rows = valued(reward="all_or_nothing")
  found, equal = (rewards_of(rows, task, max_spans=LETTERS, credit=credit) for credit in ("shapley", "uniform"))
  np.testing.assert_allclose(found, equal, atol=1e-6)
  np.testing.assert_allclose(credits_of(rows, found, 0), [1 / LETTERS] * LETTERS, rtol=1e-5)
  partly, others = (rewards_of(valued()[1], task, max_spans=LETTERS, credit=c) for c in ("shapley", "uniform"))
  assert np.abs(partly - others).max() > 0.05, "on the partly additive task it is not"


@pytest.mark.parametrize(
  "options",
  [{}, {"orders": 3}, {"credit": "owen"}, {"credit": "uniform", "alpha": 0.5}, {"alpha": 0.0, "shaping": "potential"}],
)
def test_rewards_of_a_response_add_up_to_its_outcome_less_the_empty_value(options):
  task, rows = valued(orders=options.get("orders", 0))
  found = rewards_of(rows, task, max_spans=LETTERS, **options).sum(axis=1)
  np.testing.assert_allclose(found, np.where(USED, rows.rewards, 0), atol=1e-6)
  if "orders" not in options:
    share = options.get("alpha", 1.0) or options.get("shaping_coefficient", 1.0)
    np.testing.assert_allclose(rewards_of(game(PAIRED), **options).sum(), 0.8 - share * 0.1, atol=1e-6)


# Invariances and reductions.


def test_with_alpha_0_it_is_ppo():
  rows = game(PAIRED)
  rows = rows.with_extras(values=jnp.asarray(RNG.normal(size=(1, 6)), jnp.float32))
  options = {"lam": 0.9, "discount": 0.95}
  methods = built(max_spans=3, alpha=0.0, **options), ppo.build(config_of(ppo, **options), in_cipher.task())
  streams, of_ppo = (jax.jit(method.signal)(rows, jnp.int32(0)).streams for method in methods)
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), streams, of_ppo)
  assert np.abs(streams["policy"].targets).max() > 0.1


def test_rows_may_be_shuffled_and_padded():
  task, rows = valued()
  options = {"max_spans": LETTERS, "lam": 0.9}
  rows = rows.with_extras(values=jnp.asarray(RNG.normal(size=rows.tokens.shape), jnp.float32))
  found = rewards_of(rows, task, **options)
  order = RNG.permutation(len(found))
  np.testing.assert_allclose(rewards_of(rows.rows(order), task, **options), found[order], atol=1e-6)
  garbage = jax.tree.map(lambda x: jnp.full_like(x, np.nan) if x.dtype == jnp.float32 else x, rows.rows(order[:2]))
  garbage = garbage.replace(row_mask=jnp.zeros(2, bool))
  padded = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), rows.replace(trees=()), garbage)
  wider = rewards_of(padded, task, **options)
  np.testing.assert_allclose(wider[:-2], found, atol=1e-6)
  assert not wider[-2:].any()


# Edge cases.


@pytest.mark.parametrize("options", [{}, {"credit": "uniform"}, {"shaping": "potential"}, {"shaping": "graph"}])
def test_rows_without_a_value_count_for_nothing(options):
  """One that has no verdict, and one of which a copy has none."""
  lost, no = game([np.nan] * 8), jnp.zeros(1, bool)
  parts = game(PAIRED), lost.with_extras(valued=no), lost.replace(reward_mask=no)
  signal = jax.jit(built(max_spans=3, **PLAIN | options).signal)
  alone = signal(parts[0], jnp.int32(0))
  streams, metrics = signal(jax.tree.map(lambda *x: jnp.concatenate(x), *parts), jnp.int32(0))
  for name, stream in streams.items():
    assert not stream.weights[1:].any() and not stream.targets[1:].any()
    np.testing.assert_allclose(stream.targets[0], alone.streams[name].targets[0], atol=1e-6)
  for name, mean in metrics.items():
    np.testing.assert_allclose(mean.value, alone.metrics[name].value, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"credit": "banzhaf"}, "method.credit is one of shapley, owen, uniform, got 'banzhaf'"),
    ({"shaping": "tree"}, "method.shaping is one of none, potential, graph, got 'tree'"),
    ({"spans": "words"}, "method.spans is one of steps, tokens, got 'words'"),
    ({"empty": "zero"}, "method.empty is one of fixed, blanks, got 'zero'"),
    ({"max_spans": 9}, "method.max_spans=9 have 512 coalitions: take 8 at most, or method.orders"),
    ({"credit": "owen", "orders": 2}, "method.orders=2: Owen values are exact, set it to 0"),
    ({"credit": "uniform", "orders": 2}, "method.orders=2: equal shares sample no orders, set it to 0"),
    ({"shaping": "graph", "orders": 2}, "method.shaping='graph' reads all coalitions: set method.credit to 'shapley'"),
    ({"shaping": "potential", "credit": "uniform"}, "method.shaping='potential' reads all coalitions"),
    ({"blank_token": 99}, "the blank token 99 is outside the task's vocabulary: want an id from 0 to 15"),
  ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    built(**options)


@pytest.mark.parametrize(
  ("option", "value"), [("alpha", 1.5), ("kl_in_reward", -1.0), ("max_spans", 0), ("orders", -1)]
)
def test_numbers_out_of_range_are_refused(option, value):
  with pytest.raises(UserError, match=f"method.{option}: want"):
    check_options(config_of(scar, **{option: value}), scar)


# Through the trainer.


@pytest.mark.slow
def test_two_iterations_with_random_orders_of_more_tokens_than_spans():
  """On chains, whose padding is the blank."""
  done = two_iterations(
    "scar", "method.orders=2", "method.spans=tokens", "method.max_spans=3", "method.kl_in_reward=0.1",
    "method.empty=blanks", "method.blank_token=0",
  )  # fmt: skip
  assert_whole(done)
  for metrics in done.metrics:
    assert (metrics["credit_spread"] > 0).all() and (metrics["critic/gradient_norm"] > 0).all()
    assert (metrics["spans"] <= 3).all()


def test_an_iteration_with_a_graph_of_states():
  shaped = ("method.shaping=graph", "method.shaping_coefficient=0.1", "method.orders=0")
  config = every_method.config_of("scar", *shaped, "num_iterations=1")
  trainer = every_method.trainer_of(every_method.built(config))
  (metrics,) = trainer.advance().metrics
  assert (metrics["gradient_norm"] > 0).all() and (metrics["spans"] > 1).all()
