"""Independent decisions: episodes by hand, the bait, values against enumeration, demonstrations, edge cases."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.tasks.environments import decisions
from tests.tasks.environments.episodes import ROWS, padded, spoiled, told

LEVEL = {"three": {"decisions": 3}}


@functools.cache
def built(**fields):
  task = decisions.build({"levels": LEVEL, **fields})
  return task, {name: jax.jit(getattr(task, name)) for name in ("verify", "demonstrate", "step_values")}


def verdicts_of(task, jitted, *rows):
  return padded(jitted["verify"], problems(task), task, *rows)


def problems(task):
  """The problem 1+2, 9+4, 0+0 in every row."""
  prompts = task.prompts(jnp.zeros(ROWS, jnp.int32), "train")
  operands = jnp.tile(jnp.array([[[1, 2], [9, 4], [0, 0]]]), (ROWS, 1, 1))
  return prompts.replace(metadata=prompts.metadata | {"operands": operands})


RIGHT = ["3.", "3.", "0."]


# Hand-computed.


def test_episodes_by_hand():
  task, jitted = built()
  rows = ["3."], ["3.", "5."], RIGHT, ["3.", "33", "0."], ["4.", "4.", "4."]
  verdicts = verdicts_of(task, jitted, *rows)
  assert told(task, verdicts) == [("9+4=", False), ("0+0=", False), ("", True), ("", True), ("", True)]
  third = 1 / 3
  np.testing.assert_allclose(
    verdicts.extras["turn_rewards"], [[third, 0, 0], [third, 0, 0], [third] * 3, [third, 0, third], [0] * 3], rtol=1e-6
  )
  assert verdicts.extras["correct"].tolist() == [False, False, True, False, False]
  ids = verdicts.extras["state_ids"]
  assert ids[2].tolist() == [3, 7, 11, 15] and ids[3].tolist() == [3, 7, 10, 14] and ids[0].tolist() == [3, 7, -1, -1]


def test_the_reward_of_all():
  task, jitted = built(reward="all")
  verdicts = verdicts_of(task, jitted, RIGHT, ["3.", "5.", "0."], ["3.", "3."])
  np.testing.assert_array_equal(verdicts.extras["turn_rewards"], [[0, 0, 1], [0] * 3, [0] * 3])


def test_the_bait_is_better_at_once_and_worse_in_the_end():
  task, jitted = built(bait=1.5)
  rows = ["$.", "3.", "0."], ["3.", "$.", "0."], ["3.", "3.", "$."], RIGHT
  verdicts = verdicts_of(task, jitted, *rows)
  third = 1 / 3
  rewards = [[1.5 * third, 0, 0], [third, 1.5 * third, 0], [third, third, 0], [third] * 3]
  np.testing.assert_allclose(verdicts.extras["turn_rewards"], rewards, rtol=1e-6)
  assert verdicts.extras["baited"].tolist() == [[True, False, False], [False, True, False], [False] * 3, [False] * 3]
  assert not verdicts_of(*built(), ["$."]).extras["baited"].any()


# Against enumeration.


@pytest.mark.parametrize("fields", [{}, {"reward": "all"}, {"bait": 1.5}])
def test_values_against_enumeration(fields):
  """The chances of what a turn is are counted over four rows, and all that can come is added up."""
  task, jitted = built(**fields)
  rows = RIGHT, ["3.", "5.", "0."], ["$.", "3.", "1."], ["1.", "3."]
  found = padded(jitted["step_values"], problems(task), task, *rows, extra=[jnp.ones(ROWS, bool)])
  bait = fields.get("bait", 0.0)
  baited = {"bait": 0.25, "wrong": 0.25} if bait else {"wrong": 0.5}
  # The second turn of row 3 is right, though nothing comes after it.
  chances = [{"right": 0.5, **baited}, {"right": 0.75, "wrong": 0.25}, {"right": 2 / 3, "wrong": 1 / 3}]

  def earned(kinds, start, is_open, perfect):
    total = 0.0
    for turn, kind in enumerate(kinds, start=start):
      perfect &= kind == "right"
      if fields.get("reward") == "all":
        total += float(perfect and turn == 2)
      elif is_open:
        total += {"right": 1.0, "bait": bait}.get(kind, 0.0) / 3
        is_open &= kind != "bait"
    return total

  def value(turn, is_open=True, perfect=True):
    total = 0.0
    for kinds in itertools.product(*(chances[t] for t in range(turn, 3))):
      chance = np.prod([chances[t][kind] for t, kind in enumerate(kinds, start=turn)])
      total += chance * earned(kinds, turn, is_open, perfect)
    return total

  slots = task.turns.slots[:, 0]
  of_all = fields.get("reward") == "all"
  first = 0.0 if of_all else 1 / 3
  np.testing.assert_allclose(found.before[:, slots[0]], [value(0)] * 4, atol=1e-6)
  np.testing.assert_allclose(found.after[0, slots[:2]], [first + value(1), 2 * first + value(2)], atol=1e-6)
  np.testing.assert_allclose(found.after[1, slots[1]], first + value(2, perfect=False), atol=1e-6)
  np.testing.assert_allclose(found.after[2, slots[0]], bait / 3 + value(1, not bait, False), atol=1e-6)
  np.testing.assert_allclose(found.after[3, slots[1]], first, atol=1e-6, err_msg="it has ended")


def test_demonstrations_and_their_values():
  task, jitted = built(bait=1.5)
  prompts = task.prompts(jnp.arange(1000), "train")
  tokens, mask = jitted["demonstrate"](jax.random.key(0), prompts)
  verdicts = jitted["verify"](prompts, tokens, mask)
  assert verdicts.extras["done"].all() and 0.1 < verdicts.extras["correct"].mean() < 0.35
  np.testing.assert_allclose(verdicts.extras["baited"][:, :2].mean(), 0.2, atol=0.04)
  values = jitted["step_values"](prompts, tokens, mask, jnp.ones(1000, bool))
  np.testing.assert_allclose(values.before[0, 0], verdicts.rewards.mean(), atol=0.02)


# Edge cases.


def test_levels_of_different_length_end_where_they_do():
  task = decisions.build({"levels": {"one": {"decisions": 1}, "two": {"decisions": 2}}, "error_rate": 0.0})

  @jax.jit
  def demonstrated():
    prompts = task.prompts(jnp.arange(40), "train")
    tokens, mask = task.demonstrate(jax.random.key(0), prompts)
    values = task.step_values(prompts, tokens, mask, jnp.ones(40, bool))
    return prompts, task.verify(prompts, tokens, mask), values

  prompts, verdicts, values = demonstrated()
  assert verdicts.extras["done"].all() and verdicts.extras["correct"].all()
  np.testing.assert_allclose(verdicts.rewards, 1)
  taken = (verdicts.extras["state_ids"] >= 0).sum(axis=1) - 1
  np.testing.assert_array_equal(taken, prompts.levels + 1)
  np.testing.assert_allclose(values.before[:, 0], 1, atol=1e-6)


def test_garbage_is_a_wrong_decision():
  task, jitted = built(bait=1.5)
  prompts = task.prompts(jnp.arange(1000), "train")
  tokens, mask = spoiled(task, *jitted["demonstrate"](jax.random.key(1), prompts), np.random.default_rng(0))
  verdicts = jax.device_get(jitted["verify"](prompts, tokens, mask))
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(verdicts)) and 0.2 < verdicts.rewards.mean() < 0.8


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"levels": {"x": {"decisions": 0}}}, "task.levels.x.decisions: got 0, want a whole number from 1 to 64"),
    ({"reward": "some"}, "task.reward: got 'some', want one of sum, all"),
    ({"reward": "all", "bait": 1.5}, "task.bait=1.5 is earned at once, but task.reward is 'all': take 'sum'"),
    ({"modulus": 11}, "task.modulus: got 11, want a whole number from 2 to 10"),
    ({"decisions": 3}, "task: unknown field 'decisions'"),
  ],
)
def test_fields_that_make_no_sense_are_one_line(fields, message):
  with pytest.raises(ValueError, match=message):
    decisions.build(fields)
