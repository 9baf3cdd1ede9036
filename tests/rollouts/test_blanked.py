"""Blanked copies: values of coalitions against a loop over text, what is asked of the verifier, and what it lacks."""

from __future__ import annotations

import dataclasses
import types

import jax
import numpy as np
import pytest

from rl_jax.rollouts import coalitions
from rl_jax.rollouts.blanked import blank_of, blanked, unit_ids
from rl_jax.rollouts.rollout import Rollout, judged
from rl_jax.training.held_out import judge, led
from tests.methods.batches import batch_of
from tests.rollouts import in_cipher
from tests.rollouts.in_cipher import LETTERS, TEXTS, USED, points, units_of, without
from tests.tasks import bit_strings


def phases_of(asked, some=None, change=lambda task: task, **options):
  """Rows that a rollout of the responses in cipher leaves; the numbers of rows that it asks about go to `asked`."""
  scored_by = change(in_cipher.task())
  rollout = blanked(scored_by, in_cipher.rollout(), some or coalitions.every_coalition(LETTERS), LETTERS, **options)
  left, counts, tokens = in_cipher.left_by(rollout, scored_by)
  assert tokens == in_cipher.SAMPLED, "copies are not generated"
  asked.extend(map(int, counts))
  return left


# Hand-computed.


def test_units_by_hand():
  ends = np.array([[0, 1, 1, 0, 1, 0], [1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0], [0, 1, 0, 1, 1, 0]], bool)
  mask = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0], [0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0]], bool)
  by = lambda most: unit_ids(ends, mask, most).tolist()
  assert by(5) == [[0, 0, 1, 2, 2, 2], [0, 1, 2, 3, 4, -1], [-1, 0, 0, -1, -1, -1], [-1, -1, -1, 0, 1, -1]]
  assert by(2) == [[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, -1], [-1, 0, 0, -1, -1, -1], [-1, -1, -1, 0, 1, -1]]
  assert by(1) == np.where(mask, 0, -1).tolist()


# Against a loop over text.


def test_values_of_all_coalitions_are_rewards_of_blanked_text():
  asked = []
  left = phases_of(asked)
  extras = jax.device_get(left.extras)
  for row in np.flatnonzero(USED):
    units = units_of(row)
    assert extras["unit_mask"][row].tolist() == [unit < units for unit in range(LETTERS)]
    for code in range(2**units):
      members = [unit for unit in range(units) if code >> unit & 1]
      expected = 0.0 if not members else points(without(row, members))
      place = code if code < 2**units - 1 else 2**LETTERS - 1
      np.testing.assert_allclose(
        extras["coalition_values"][row, place], expected, rtol=1e-6, err_msg=f"{row} {members}"
      )
      np.testing.assert_allclose(extras["coalition_values"][row, code], expected, rtol=1e-6)
  assert extras["valued"].tolist() == USED.tolist() and not extras["empty_values"].any()
  np.testing.assert_array_equal(extras["unit_ids"][0], [*[-1] * 5, 0, 1, 2, 3, 3])
  np.testing.assert_array_equal(extras["unit_ids"][3], [*[-1] * 5, 0, 1, 2, -1, -1])
  # Each row in use once; then an empty response to each of three prompts, and the coalitions but none and all.
  assert asked == [7, 3 + sum(2 ** units_of(row) - 2 for row in np.flatnonzero(USED)), 0]
  np.testing.assert_allclose(left.rewards[:-1], [points(text) for text in TEXTS[:-1]], rtol=1e-6)
  np.testing.assert_array_equal(left.extras["own"], np.arange(len(TEXTS)))
  np.testing.assert_array_equal(left.tokens, in_cipher.rows().tokens)


def test_values_of_orders_are_those_of_their_beginnings():
  asked = []
  left = phases_of(asked, coalitions.random_orders(LETTERS, 3), empty="blanks")
  extras = jax.device_get(left.extras)
  for row in np.flatnonzero(USED):
    units = units_of(row)
    for order, values in zip(extras["orders"][row], extras["order_values"][row], strict=True):
      assert sorted(order[:units]) == list(range(units)) and sorted(order) == list(range(LETTERS))
      expected = [points(without(row, order[:size])) if size else 0.0 for size in range(units + 1)]
      np.testing.assert_allclose(values, expected + [expected[-1]] * (LETTERS - units), rtol=1e-6)
  assert len({tuple(order) for order in extras["orders"][0]} | {tuple(order) for order in extras["orders"][1]}) > 1
  # Blanks of each row's own length, and the inner beginnings of three orders.
  assert asked == [7, 7 + sum(3 * (units_of(row) - 1) for row in np.flatnonzero(USED)), 0]


def test_without_coalitions_the_empty_response_alone_is_asked_about():
  asked = []
  left = phases_of(asked, coalitions.NONE)
  assert asked == [7, 3, 0] and left.extras["valued"].tolist() == USED.tolist()


def graded(verdicts_of):
  """The task with other verdicts, by the number of blanks and of tokens in a response."""

  def change(task):
    def verify(prompts, tokens, mask):
      blanks, length = ((tokens == task.blank_token) & mask).sum(axis=1), mask.sum(axis=1)
      return task.verify(prompts, tokens, mask).replace(**verdicts_of(blanks, length))

    return dataclasses.replace(task, verify=verify)

  return change


def test_an_empty_response_is_the_same_for_a_prompt_and_blanks_are_not():
  change = graded(lambda blanks, length: {"rewards": length / 8.0})
  values = {
    empty: phases_of([], coalitions.NONE, change, empty=empty).extras["empty_values"] for empty in ("fixed", "blanks")
  }
  np.testing.assert_allclose(values["fixed"][USED], 1 / 8)
  np.testing.assert_allclose(values["blanks"][USED], [len(text) / 8 for text in TEXTS[:-1]])


def test_a_row_with_a_copy_without_a_verdict_is_not_valued():
  """No verdict on what has two blanks: rows of at least three units have such a copy, and the end of a row is one."""
  change = graded(lambda blanks, length: {"reward_mask": blanks != 2})
  left = phases_of([], change=change)
  assert left.extras["valued"].tolist() == [False, False, False, False, True, True, False, False]
  left = phases_of([], change=graded(lambda blanks, length: {"reward_mask": (length != 1)}))
  assert not left.extras["valued"].any(), "nor one without an empty value"


def test_in_python_the_verifier_is_asked_about_copies_alone():
  """Tokens as spans, two of three at most: 111 and 10 of strings that begin with 1."""
  scored_by = bit_strings.BitStringsInPython()
  mask = np.array([[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 0]], bool)
  before = batch_of(
    mask, prompt_width=4, tokens=np.array([[3, 3, 2, 2, 3, 3, 3], [3, 3, 2, 2, 3, 2, 0]], np.int32),
    attention_mask=mask | (np.arange(7) < 4), prompt_ids=np.array([1, 1]),
    rewards=np.float32([1, 1 / 3]), step_ids=np.where(mask, 0, -1),
  )  # fmt: skip
  rollout = blanked(scored_by, Rollout(phases=()), coalitions.every_coalition(2), 2, spans="tokens", token=0)
  copied, reduced = rollout.phases
  run = lambda phase, rows: jax.jit(lambda rows: phase({}, (), None, None, rows, jax.random.key(0)))(rows)
  result = run(copied, before)
  verdicts, levels = judge(scored_by, led(result.trajectories), led(result.verify), "train")
  left = run(reduced, judged(result.trajectories, verdicts, levels, result.verify, {})).trajectories
  np.testing.assert_allclose(left.extras["coalition_values"], [[0, 2 / 3, 1 / 3, 1], [0, 1 / 3, 0, 1 / 3]], rtol=1e-6)
  assert scored_by.verified[-1] == ("train", 5), "one empty response, two copies of each row"


# What cannot be.


@pytest.mark.parametrize(
  ("fields", "token", "message"),
  [
    ({"blank_token": None}, None, "this task has no `blank_token`: name one, or take another task"),
    ({"blank_token": 9}, None, "the blank token 9 is outside the task's vocabulary: want an id from 0 to 3"),
    ({"blank_token": 2}, -1, "the blank token -1 is outside"),
    ({"blank_token": 2, "turns": object()}, None, "responses of several turns are not blanked"),
  ],
)
def test_a_task_that_cannot_be_blanked_is_one_line(fields, token, message):
  with pytest.raises(ValueError, match=message):
    blank_of(types.SimpleNamespace(**{"vocabulary": range(4), "turns": None} | fields), token)


def test_a_named_token_stands_above_the_tasks():
  assert blank_of(types.SimpleNamespace(vocabulary=range(4), turns=None, blank_token=2), 3) == 3
