"""True values of steps: by hand, against enumeration in NumPy, and calibrated on responses of a known policy."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.tasks import chain
from rl_jax.tasks.task import Prompts
from tests.tasks.jitted import jitted

USED = ("prompts", "demonstrate", "verify", "step_values")
RIGHT = {"step_error_rate": 0.0, "skip_rate": 0.0, "recheck_rate": 0.0}


@functools.cache
def build(operations=2, operators="+-", modulus=10, **fields):
  level = {"operations": operations, "operators": operators, "modulus": modulus}
  return jitted(chain.build({"levels": {"one": level}, **RIGHT, **fields}), *USED)


def problem(task, text, rows):
  """`rows` times the problem "7+5-8="."""
  prompts = task.prompts(jnp.zeros(rows, jnp.int32), "train")
  operands, signs = [int(c) for c in text[:-1:2]], [chain.OPERATORS.index(c) for c in text[1:-1:2]]
  values = [operands[0]]
  for sign, operand in zip(signs, operands[1:], strict=True):
    values.append((values[-1] + operand if sign == 0 else values[-1] - operand) % 10)
  tile = lambda x: np.tile(np.asarray(x, np.int32), (rows, 1))
  answer = [*task.vocabulary.encode(str(values[-1])), task.vocabulary.end_id]
  metadata = prompts.metadata | {
    "operands": tile(operands), "operators": tile(signs), "step_values": tile(values[1:]),
    "answers": np.full(rows, values[-1], np.int32), "answer_tokens": tile(answer),
  }  # fmt: skip
  return Prompts(prompts.tokens, prompts.mask, prompts.ids, prompts.levels, metadata)


def values_of(task, prompts, tokens, mask, whole=None):
  whole = np.ones(len(tokens), bool) if whole is None else np.asarray(whole)
  found = task.step_values(prompts, tokens, mask, whole)
  return np.asarray(found.before, np.float64), np.asarray(found.after, np.float64)


def test_by_hand(plain):
  # 7+5=2, 2-8=4. "+" is right in 3 of 4 rows, off by 1 in one. "-" is right in 2 of 4, else off by 1 and by -1.
  task = build()
  texts = ["a2b4#4.", "a2b5#5.", "a3b5#5.", "a2b3#3."]
  before, after = values_of(task, problem(task, "7+5-8=", 4), *plain.respond(task, texts))
  # From 2: right with 2/4. From 3: "-" right gives 5; off by -1, seen once in 4, gives 4.
  # The start: 3/4 * 1/2 + 1/4 * 1/4. The answer always states the last value again.
  start, right, wrong = 3 / 4 * 1 / 2 + 1 / 4 * 1 / 4, 1 / 2, 1 / 4
  want_after = [[right] * 2 + [1] * 5, [right] * 2 + [0] * 5, [wrong] * 2 + [0] * 5, [right] * 2 + [0] * 5]
  want_before = [[start] * 2 + [v] * 2 + [w] * 3 for v, w in ((right, 1), (right, 0), (wrong, 0), (right, 0))]
  np.testing.assert_allclose(after, want_after, atol=1e-6)
  np.testing.assert_allclose(before, want_before, atol=1e-6)


def test_by_hand_where_a_repeated_step_spoils_the_next(plain):
  task = build()
  texts = ["a2b4#4."] * 20 + ["a2a2b9#9."] * 20
  _, after = values_of(task, problem(task, "7+5-8=", 40), *plain.respond(task, texts))
  # Before "-": right 20 times, "a2" again 20 times; after "a2" again, off by 5 each time. The pool: a third each.
  # Nine slots have no room for a second repeat.
  third = 16 / 3
  once = third / (20 + 16)
  never = (20 + third) / (40 + 16) * (1 + once)
  np.testing.assert_allclose(after[20, :4], [never] * 2 + [once] * 2, atol=1e-6)
  np.testing.assert_allclose(after[0, :4], [never] * 2 + [1] * 2, atol=1e-6)


def test_a_step_that_a_window_cuts_is_no_failure(plain):
  task = build()
  texts = ["a2b4#4.", "a2b"]
  cut, failed = (
    values_of(task, problem(task, "7+5-8=", 2), *plain.respond(task, texts, width=7), whole=[True, whole])[1][0, 0]
    for whole in (False, True)
  )
  np.testing.assert_allclose([cut, failed], [1.0, 0.5], atol=1e-6)


def enumerated(operators, operands, answer, chances, at_answer, step, value):
  """Chance of the right answer from `value` before operation `step`, over all slips there are."""
  total = 0.0
  slips = [range(10)] * (len(operators) - step) + [range(10)]
  for path in itertools.product(*slips):
    now, chance = value, 1.0
    for k, slip in enumerate(path[:-1], start=step):
      now = (now + operands[k + 1] if operators[k] == 0 else now - operands[k + 1]) + slip
      now, chance = now % 10, chance * chances[operators[k]][slip]
    total += chance * at_answer[path[-1]] * ((now + path[-1]) % 10 == answer)
  return total


def test_against_enumeration():
  task = build(operations=3, step_error_rate=0.3, lure_rate=0.5)
  prompts = task.prompts(jnp.arange(200), "train")
  tokens, mask = task.demonstrate(jax.random.key(1), prompts)
  before, after = values_of(task, prompts, tokens, mask)
  metadata = {name: np.asarray(x) for name, x in prompts.metadata.items()}
  stated = np.asarray(tokens)[:, 1:6:2] - task.vocabulary.encode("0")[0]
  counts = np.zeros((2, 10))
  for row in range(200):
    value = metadata["operands"][row, 0]
    for k in range(3):
      sign = metadata["operators"][row, k]
      exact = value + metadata["operands"][row, k + 1] * (1 if sign == 0 else -1)
      counts[sign, (stated[row, k] - exact) % 10] += 1
      value = stated[row, k]
  chances = counts / counts.sum(axis=1, keepdims=True)
  for row in range(3):
    arguments = metadata["operators"][row], metadata["operands"][row], metadata["answers"][row], chances, np.eye(10)[0]
    np.testing.assert_allclose(before[row, 0], enumerated(*arguments, 0, metadata["operands"][row, 0]), atol=1e-5)
    for k in range(3):
      np.testing.assert_allclose(after[row, 2 * k], enumerated(*arguments, k + 1, stated[row, k]), atol=1e-5)


def test_values_are_the_chances_of_success():
  """Demonstrations are a policy whose slips depend on the operator alone: of responses with a value v, v succeed."""
  task = build(operations=8, step_error_rate=0.05, lure_rate=0.3)
  prompts = task.prompts(jnp.arange(8000), "train")
  tokens, mask = task.demonstrate(jax.random.key(0), prompts)
  reward = np.asarray(task.verify(prompts, tokens, mask).rewards)
  before, after = values_of(task, prompts, tokens, mask)
  np.testing.assert_allclose(before[:, 0].mean(), reward.mean(), atol=0.02)
  for slot in (4, 8, 12):
    ranks = np.argsort(after[:, slot])
    for part in np.array_split(ranks, 4):
      np.testing.assert_allclose(after[part, slot].mean(), reward[part].mean(), atol=0.04)
  assert np.corrcoef(after[:, 12], reward)[0, 1] > np.corrcoef(after[:, 4], reward)[0, 1] > 0.05


@pytest.mark.parametrize("text", ["a2b", "a2b4#", "a2b4#4"])
def test_a_step_that_a_window_cuts_changes_no_value(plain, text):
  task = build()
  prompts = problem(task, "7+5-8=", 2)
  before, after = values_of(task, prompts, *plain.respond(task, ["a2b5#5.", text], width=7), whole=[True, False])
  begun = 2 if text == "a2b" else 4
  np.testing.assert_allclose(after[1, begun : len(text)], before[1, begun : len(text)], atol=1e-6)
  np.testing.assert_allclose(before[1, begun : len(text)], after[1, begun - 1], atol=1e-6)


def repeater(generator, chances, room):
  """A response to 1+1+...+1= of a policy that repeats a step with chance chances[e], and slips after it did."""
  text, value, repeated = "", 1, 0
  for name in "abcdefgh":
    value = (value + 1 + (generator.random() < 0.05 * (1 + repeated))) % 10
    text += f"{name}{value}"
    while repeated < 3 and generator.random() < chances[repeated]:
      text, repeated = f"{text}{name}{value}", repeated + 1
  return f"{text}#{value}."[:room]


@pytest.mark.parametrize(
  "chances",
  [(0.5, 0.05, 0.3), *(pytest.param(x, marks=pytest.mark.slow) for x in ((0.0, 0.0, 0.0), (0.02, 0.5, 0.5)))],
)
def test_values_of_a_policy_that_repeats_steps_are_its_chances_of_success(plain, chances):
  task, generator = build(operations=8), np.random.default_rng(0)
  prompts = problem(task, "1+" * 8 + "1=", 8000)
  width = 2 * (8 + 3) + 3
  tokens, mask = plain.respond(task, [repeater(generator, chances, width) for _ in range(8000)], width=width)
  reward = np.asarray(task.verify(prompts, jnp.asarray(tokens), jnp.asarray(mask)).rewards)
  before, after = values_of(task, prompts, tokens, mask)
  np.testing.assert_allclose(before[0, 0], reward.mean(), atol=0.01)
  for slot in (4, 8, 12):
    for value in np.unique(after[:, slot].round(4)):
      rows = np.abs(after[:, slot] - value) < 1e-3
      if rows.sum() > 400:
        np.testing.assert_allclose(value, reward[rows].mean(), atol=0.06)


def test_credits_add_up_to_the_reward_minus_the_value_of_the_start(plain):
  task = build(operations=3)
  prompts = task.prompts(jnp.arange(64), "train")
  tokens, mask = task.demonstrate(jax.random.key(3), prompts)
  tokens, mask = plain.spoil(task, tokens, mask, np.random.default_rng(0))
  before, after = values_of(task, prompts, tokens, mask)
  verdicts = task.verify(prompts, jnp.asarray(tokens), jnp.asarray(mask))
  ids = np.asarray(verdicts.step_ids)
  assert np.all(np.isfinite(before) & (before >= 0) & (after <= 1 + 1e-6)) and np.all(after[ids < 0] == 0)
  for row in range(64):
    firsts = np.flatnonzero((ids[row] >= 0) & (np.diff(ids[row], prepend=-1) != 0))
    if len(firsts):
      total = (after[row, firsts] - before[row, firsts]).sum()
      np.testing.assert_allclose(total, verdicts.rewards[row] - before[row, firsts[0]], atol=1e-5)


def test_without_errors_every_step_is_certain(plain):
  task = build()
  before, after = values_of(task, problem(task, "7+5-8=", 2), *plain.respond(task, ["a2b4#4."] * 2))
  np.testing.assert_array_equal(before, np.ones((2, 7)))
  np.testing.assert_array_equal(after, np.ones((2, 7)))


def test_two_levels_do_not_share_their_slips():
  levels = {"a": {"operations": 2, "operators": "+"}, "b": {"operations": 2, "operators": "+", "modulus": 7}}
  task = jitted(chain.build({"levels": levels, **RIGHT}), *USED)
  prompts = task.prompts(jnp.arange(40), "train")
  tokens, mask = task.demonstrate(jax.random.key(0), prompts)
  wrong = np.array(tokens)
  of_b = np.asarray(prompts.levels) == 1
  zero = task.vocabulary.encode("0")[0]
  wrong[of_b, 1] = zero + (wrong[of_b, 1] - zero + 1) % 7
  before, _ = values_of(task, prompts, wrong, mask)
  np.testing.assert_allclose(before[~of_b, 0], 1.0, atol=1e-6)
  assert np.all(before[of_b, 0] < 0.9)


def test_a_row_that_goes_on_has_the_value_of_where_it_is(plain):
  task = build()
  prompts = problem(task, "7+5-8=", 3)
  tokens, mask = plain.respond(task, ["a2b4#4.", "a2b5#5.", "a2"], width=7)
  _, after = values_of(task, prompts, tokens, mask, whole=[True, True, False])
  np.testing.assert_allclose(after[2, :2], 0.5, atol=1e-6)


def test_where_the_answer_has_no_room_left_there_is_no_chance(plain):
  """Of seven slots two re-checks leave three: "#4." fits, another step before it does not."""
  task = build()
  texts = ["a2b4#4.", "a2a2b4#", "a2a2"]
  texts = plain.respond(task, texts, width=7)
  _, after = values_of(task, problem(task, "7+5-8=", 3), *texts, whole=[True, True, False])
  # From "a2" one of three rows goes on rightly, of all states before "-" two of four. "#" fails in row 1 alone.
  goes_on, answers = (1 + 16 * 2 / 4) / (3 + 16), (1 + 16 * 1 / 2) / (1 + 16)
  np.testing.assert_allclose(after[:, 0], goes_on * answers, atol=1e-6)
  np.testing.assert_array_equal(after[1:, 2], [0, 0])


def test_a_response_without_steps_has_no_values(plain):
  task = build()
  found = values_of(task, problem(task, "7+5-8=", 1), *plain.respond(task, ["444."]))
  np.testing.assert_array_equal(found, np.zeros((2, 1, 4)))


def test_a_number_beyond_the_modulus_is_malformed(plain):
  task = build(operators="+", modulus=7)
  prompts = task.prompts(jnp.zeros(2, jnp.int32), "train")
  first = int(prompts.metadata["step_values"][0, 0])
  answer = int(prompts.metadata["answers"][0])
  texts = [f"a{first}b{answer}#{answer}.", f"a9b{answer}#{answer}."]
  before, after = values_of(task, prompts, *plain.respond(task, texts))
  np.testing.assert_allclose(after[1, 0], 1.0)  # what rows with a malformed step earn; not the chance from 6
  np.testing.assert_allclose(before[1, 2], 1.0)


def test_a_malformed_step_is_worth_what_rows_with_one_earn(plain):
  task = build()
  texts = ["a2bb4#4.", "ab4#4.", "a2b4.", "a2b4#4."]
  _, after = values_of(task, problem(task, "7+5-8=", 4), *plain.respond(task, texts, width=8))
  np.testing.assert_allclose(after[0, 2], 1.0)  # rows 0 and 1 hold one and are right
  np.testing.assert_allclose(after[1, 0], 1.0)
  np.testing.assert_allclose(after[2, 2], 0.0)  # it ended without an answer


@pytest.mark.parametrize("operators, floor", [("+-", 0.1), ("+", 0.1)])
def test_the_guessing_floor_is_what_the_best_constant_earns(operators, floor):
  assert build(operations=8, operators=operators).guessing_floor == pytest.approx(floor)


def test_products_raise_the_guessing_floor():
  task = build(operations=8, operators="+*")
  answers = np.asarray(task.prompts(jnp.arange(20000), "train").metadata["answers"])
  found = np.bincount(answers, minlength=10).max() / len(answers)
  assert 0.2 < task.guessing_floor < 0.3 and abs(task.guessing_floor - found) < 0.01
