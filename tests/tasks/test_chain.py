"""Chains: hand-computed, against plain Python, invariances, demonstrations, edge cases."""

from __future__ import annotations

import dataclasses
import re

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from rl_jax.tasks import chain, worked_steps
from rl_jax.tasks.task import Prompts

MIXED = {
  "easy": {"operations": 2, "operators": "+-", "modulus": 7},
  "hard": {"operations": 16, "modulus": 100, "weight": 2.0},
  "mid": {"operations": 5, "operators": "*", "modulus": 11},
}
PINNED_TRAIN = ["1*8*5+7-6=", "3+3-9*1*4=", "3-5-0*8-7="]
PINNED_DEMONSTRATION = "a8d4d4#4<end>"
PINNED_HELD_OUT = ["3+6-8+4*4=", "8+7*2-1-9=", "0*4-4+5*9="]


def build(**fields):
  """The task, its functions jitted."""
  task = chain.build(ml_collections.ConfigDict({**chain.get_config(), **fields}))
  return dataclasses.replace(
    task,
    prompts=jax.jit(task.prompts, static_argnums=1),
    verify=jax.jit(task.verify),
    demonstrate=jax.jit(task.demonstrate),
  )


def by_hand(rows):
  """Prompts of "7+5*3-8=" modulo 10 for verify."""
  width = jnp.ones(rows, jnp.int32)
  answers = jnp.full(rows, 8)
  metadata = worked_steps.metadata(
    jnp.tile(jnp.array([[2, 6, 8]]), (rows, 1)),
    width * 3,
    width,
    answers,
    worked_steps.number_tokens(answers, width, 1),
  )
  none = jnp.zeros((rows, 1), jnp.int32)
  return Prompts(tokens=none, mask=none > 0, ids=none[:, 0], levels=none[:, 0], metadata=metadata)


def text_of(task, prompts, row):
  return task.vocabulary.decode(np.asarray(prompts.tokens[row])[np.asarray(prompts.mask[row])])


def solve(text, modulus):
  """(true value of each operation, modulus) of a prompt, worked out from its text alone."""
  if text.startswith("%"):
    head, text = text[1:].split(":")
    modulus = int(head)
  assert text.endswith("=")
  numbers, signs = re.split(r"[+*-]", text[:-1]), re.findall(r"[+*-]", text)
  assert {len(number) for number in numbers} == {1 if modulus <= 10 else 2}
  assert all(int(number) < modulus for number in numbers)
  value, values = int(numbers[0]), []
  for sign, number in zip(signs, numbers[1:], strict=True):
    value = {"+": value + int(number), "-": value - int(number), "*": value * int(number)}[sign] % modulus
    values.append(value)
  return values, modulus


# Hand-computed.

RESPONSES = {  # response: (reward, step ids, step correct)
  "a2b6c8#8.": (1, [0, 0, 1, 1, 2, 2, 3, 3, 3], [1] * 9),
  "#8.": (1, [0, 0, 0], [1, 1, 1]),
  "c8#8.": (1, [0, 0, 1, 1, 1], [1] * 5),
  "a2a2b6#8.": (1, [0, 0, 1, 1, 2, 2, 3, 3, 3], [1] * 9),
  "a3b6#8.": (1, [0, 0, 1, 1, 2, 2, 2], [0, 0, 1, 1, 1, 1, 1]),
  "a2#7.": (0, [0, 0, 1, 1, 1], [1, 1, 0, 0, 0]),
  "a2#8": (0, [0, 0, 1, 1], [1, 1, 0, 0]),
  "a2.#8.": (0, [0, 0, 0, -1, -1, -1], [1, 1, 1, 0, 0, 0]),
  "#8#8.": (0, [0] * 5, [0] * 5),
  "#88.": (0, [0] * 4, [0] * 4),
  "#.": (0, [0, 0], [0, 0]),
  "#8a2.": (0, [0] * 5, [0] * 5),
  "a#8.": (1, [0, 1, 1, 1], [0, 1, 1, 1]),
  "a22#8.": (1, [0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]),
  "a2+%#8.": (1, [0, 0, 0, 0, 1, 1, 1], [1] * 7),
  "d8#8.": (1, [0, 0, 1, 1, 1], [0, 0, 1, 1, 1]),
  "p": (0, [0], [0]),
  "=7b6": (0, [-1, -1, 0, 0], [0, 0, 1, 1]),
  "": (0, [], []),
}


def test_verdicts_by_hand(plain):
  task = build()
  tokens, mask = plain.respond(task, list(RESPONSES))
  verdicts = task.verify(by_hand(len(RESPONSES)), tokens, mask)
  for row, (text, (reward, step_ids, correct)) in enumerate(RESPONSES.items()):
    rest = tokens.shape[1] - len(text)
    assert verdicts.rewards[row] == reward == verdicts.extras["answer_correct"][row], text
    assert verdicts.step_ids[row].tolist() == step_ids + [-1] * rest, text
    assert verdicts.extras["step_correct"][row].tolist() == [bool(c) for c in correct] + [False] * rest, text
  assert verdicts.reward_mask.all()


def test_extras_by_hand(plain):
  task = build()
  tokens, mask = plain.respond(task, ["=c1d9b#8."], 11)
  extras = task.verify(by_hand(1), tokens, mask).extras
  assert extras["step_true_values"].tolist() == [[-1, 8, 8, -1, -1, 6, 8, 8, 8, -1, -1]]
  assert extras["step_values"].tolist() == [[-1, 1, 1, 9, 9, -1, -1, -1, -1, -1, -1]]
  assert extras["step_operations"].tolist() == [[-1, 2, 2, 3, 3, 1, -1, -1, -1, -1, -1]]
  assert extras["step_correct"].tolist() == [[False] * 6 + [True] * 3 + [False] * 2]


def test_answers_of_equal_digits_have_equal_ids(plain):
  """Right or wrong, and after whatever steps; more digits than an answer has, or none, are no answer."""
  texts = ["#8.", "a2b6c8#8.", "#7.", "#88.", "#.", "#8", "a8.", "#a8.", ""]
  ids = build().verify(by_hand(len(texts)), *plain.respond(build(), texts)).extras["answer_ids"]
  assert ids.tolist() == [9, 9, 8] + [-1] * 6


def test_the_problems_of_an_id_stay_the_same():
  ids = jnp.array([0, 1, 2**31 - 2])
  task = build()
  assert [text_of(task, task.prompts(ids, "train"), row) for row in range(3)] == PINNED_TRAIN
  assert [text_of(task, task.prompts(ids, "held_out"), row) for row in range(3)] == PINNED_HELD_OUT


def test_widths():
  task = build()
  assert (task.prompt_tokens, task.response_tokens, len(task.vocabulary)) == (10, 16, 35)
  task = build(levels=MIXED, spare_tokens=0)
  assert (task.prompt_tokens, task.response_tokens) == (5 + 34 + 16 + 1, 16 * 3 + 4)
  assert task.levels == ("easy", "hard", "mid")


# Against plain Python.


@pytest.mark.parametrize("levels", [{"one": {"operations": 6}}, MIXED])
def test_prompts_and_verdicts_agree_with_plain_python(plain, levels):
  task = build(levels=levels, step_error_rate=0.2, skip_rate=0.2, recheck_rate=0.3)
  rng = np.random.default_rng(0)
  for split in ("train", "held_out"):
    prompts = jax.device_get(task.prompts(task.problem_ids(jax.random.key(1), 240, split), split))
    for row in range(240):
      values, modulus = solve(text_of(task, prompts, row), 10)
      level = levels[task.levels[prompts.levels[row]]]
      assert (modulus, len(values)) == (level.get("modulus", 10), level["operations"])
      stated = prompts.metadata["step_values"][row].tolist()
      assert stated == values + [-1] * (len(stated) - len(values))
      assert prompts.metadata["answers"][row] == values[-1]
    tokens, mask = task.demonstrate(jax.random.key(2), prompts)
    rewards = plain.assert_agrees(task, prompts, tokens, mask)
    assert 0.1 < rewards.mean() < 0.9
    plain.assert_agrees(task, prompts, *plain.spoil(task, tokens, mask, rng))


def test_the_length_is_an_objective_beside_the_answer(plain):
  texts = ["#8.", "a2b6c8#8.", "#7.", "a2b6c8#7.", "a2b6"]
  task, none = build(length_objective=4), build()
  tokens, mask = plain.respond(task, texts)
  verdicts, without = (which.verify(by_hand(len(texts)), tokens, mask) for which in (task, none))
  assert task.objectives == ("answer", "length") and none.objectives == () and without.objectives is None
  assert verdicts.objectives.tolist() == [[1, 1], [1, 0], [0, 1], [0, 0], [0, 1]]
  assert_same(verdicts.replace(objectives=None), without)


# Invariances.


def test_jit_vmap_and_permutation():
  task = build(levels=MIXED)
  key = jax.random.key(3)
  ids = task.problem_ids(key, 24, "train")
  prompts = task.prompts(ids, "train")
  assert_same(prompts, merge(jax.jit(jax.vmap(lambda part: task.prompts(part, "train")))(ids.reshape(2, 12))))
  order = np.random.default_rng(0).permutation(24)
  assert_same(take(prompts, order), task.prompts(ids[order], "train"))

  tokens, mask = task.demonstrate(key, prompts)
  rows = (prompts, tokens, mask)
  verdicts = task.verify(*rows)
  halves = jax.tree.map(lambda x: x.reshape(2, 12, *x.shape[1:]), rows)
  assert_same(verdicts, merge(jax.jit(jax.vmap(task.verify))(*halves)))
  assert_same(take(verdicts, order), task.verify(*take(rows, order)))


def test_eager_verify_is_jitted_verify():
  eager = chain.build({"levels": {"one": {"operations": 2}}})
  task = build(levels={"one": {"operations": 2}})
  prompts = task.prompts(jnp.arange(8), "train")
  response = task.demonstrate(jax.random.key(0), prompts)
  assert_same(task.verify(prompts, *response), eager.verify(prompts, *response))


def assert_same(left, right):
  jax.tree.map(np.testing.assert_array_equal, left, right)


def merge(halves):
  return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), halves)


def take(rows, order):
  return jax.tree.map(lambda x: x[order], rows)


def test_garbage_in_masked_slots_changes_nothing():
  task = build()
  prompts = task.prompts(jnp.arange(64), "train")
  tokens, mask = task.demonstrate(jax.random.key(0), prompts)
  garbage = jnp.where(mask, tokens, jax.random.randint(jax.random.key(1), tokens.shape, -5, 50))
  jax.tree.map(np.testing.assert_array_equal, task.verify(prompts, tokens, mask), task.verify(prompts, garbage, mask))


# Demonstrations.


def test_flawless_demonstrations_are_right_and_write_every_step():
  task = build(levels=MIXED, step_error_rate=0.0, skip_rate=0.0, recheck_rate=0.0, spare_tokens=0)
  prompts = task.prompts(jnp.arange(200), "held_out")
  tokens, mask = task.demonstrate(jax.random.key(0), prompts)
  verdicts = task.verify(prompts, tokens, mask)
  assert verdicts.rewards.all()
  np.testing.assert_array_equal(verdicts.extras["step_correct"], mask)
  np.testing.assert_array_equal(verdicts.step_ids.max(axis=1), prompts.metadata["step_counts"])


def test_a_solution_writes_every_step_once():
  tokens, mask = worked_steps.solutions(13, by_hand(1))
  assert build().vocabulary.decode(np.asarray(tokens[0])[np.asarray(mask[0])]) == "a2b6c8#8<end>"


def test_an_error_carries_on():
  task = build(step_error_rate=1.0, skip_rate=0.0, recheck_rate=0.0, levels={"one": {"operators": "+", "modulus": 2}})
  prompts = task.prompts(jnp.arange(50), "train")
  tokens, mask = task.demonstrate(jax.random.key(0), prompts)
  extras = task.verify(prompts, tokens, mask).extras
  # Modulo 2 every slip flips the value, so four slips in a row are wrong, right, wrong, right.
  assert (extras["step_correct"][:, :11] == jnp.array([[0, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1]])).all()


def test_rates_of_demonstrations():
  rates = {"step_error_rate": 0.15, "skip_rate": 0.25, "recheck_rate": 0.2}
  task = build(levels={"one": {"operators": "+-"}}, spare_tokens=8, **rates)
  n = 4000
  prompts = task.prompts(jnp.arange(n), "train")
  tokens, mask = task.demonstrate(jax.random.key(5), prompts)
  # A wrong value becomes right again by a second slip of the one right size out of 9.
  right = 1.0
  for _ in range(4):
    right = right * (1 - 0.15) + (1 - right) * 0.15 / 9
  accuracy = float(task.verify(prompts, tokens, mask).rewards.mean())
  assert abs(accuracy - right) < 4 * np.sqrt(right * (1 - right) / n)
  letters = np.asarray(tokens)[:, :, None] == np.array(task.vocabulary.encode("abcd"))
  copies = (letters & np.asarray(mask)[:, :, None]).sum(axis=1)
  np.testing.assert_allclose([(copies == k).mean() for k in range(3)], [0.25, 0.75 * 0.8, 0.75 * 0.2], atol=0.02)


def test_a_lure_makes_the_likeliest_digit_wrong():
  task = build(levels={"one": {"operators": "+-"}}, step_error_rate=0.0, skip_rate=0.0, recheck_rate=0.0, lure_rate=0.7)
  prompts = task.prompts(jnp.arange(2000), "train")
  tokens, mask = task.demonstrate(jax.random.key(5), prompts)
  metadata = {name: np.asarray(x) for name, x in prompts.metadata.items()}
  stated = np.asarray(tokens)[:, 1:9:2] - task.vocabulary.encode("0")[0]
  before = np.concatenate([metadata["operands"][:, :1], stated[:, :-1]], axis=1)
  minus = metadata["operators"] == 1
  off = (stated - before - np.where(minus, -1, 1) * metadata["operands"][:, 1:]) % 10
  assert not off[~minus].any() and set(off[minus]) == {0, 1}
  assert abs(off[minus].mean() - 0.7) < 0.02


def test_without_a_lure_demonstrations_are_what_they_were():
  plain, none = build(), build(lure_rate=0.0, lure_operator="*")
  prompts = plain.prompts(jnp.arange(20), "train")
  assert_same(plain.demonstrate(jax.random.key(5), prompts), none.demonstrate(jax.random.key(5), prompts))
  text = plain.vocabulary.decode(np.asarray(plain.demonstrate(jax.random.key(5), prompts)[0][0]))
  assert text.replace("<pad>", "") == PINNED_DEMONSTRATION


def test_re_checks_stay_within_the_room():
  for spare, width in ((0, 11), (5, 16)):
    task = build(step_error_rate=0.0, skip_rate=0.0, recheck_rate=1.0, spare_tokens=spare)
    prompts = task.prompts(jnp.arange(20), "train")
    tokens, mask = task.demonstrate(jax.random.key(0), prompts)
    assert tokens.shape[1] == task.response_tokens == width
    assert (mask.sum(axis=1) == 11 + spare // 2 * 2).all()
    assert task.verify(prompts, tokens, mask).rewards.all()


# Edge cases.


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"levels": {"x": {"operations": 17}}}, "task.levels.x.operations: got 17, want a whole number from 2 to 16"),
    ({"levels": {"x": {"operations": 1}}}, "from 2 to 16"),
    ({"levels": {"x": {"operators": "+/"}}}, "task.levels.x.operators: got '+/', want some of '+-*'"),
    ({"levels": {"x": {"operators": ""}}}, "want some of"),
    ({"levels": {"x": {"modulus": 1}}}, "task.levels.x.modulus: got 1, want a whole number from 2 to 100"),
    ({"levels": {"x": {"modulo": 5}}}, "unknown field 'modulo'; did you mean 'modulus'"),
    ({"levels": {"x": {"weight": -1.0}}}, "task.levels.x.weight"),
    ({"levels": {"x": {"weight": 0.0}}}, "no entry with a positive weight"),
    ({"step_error_rate": 1.5}, "task.step_error_rate: got 1.5"),
    ({"spare_tokens": -1}, "task.spare_tokens"),
    ({"lure_rate": 1.5}, "task.lure_rate: got 1.5"),
    ({"lure_operator": "/"}, "task.lure_operator: got '/', want one of '+-*'"),
    ({"length_objective": 0}, "task.length_objective: got 0, want a whole number from 1 to 1024"),
    ({"skip_rte": 0.5}, "task: unknown field 'skip_rte'; did you mean 'skip_rate'"),
    ({"levels": {"x": {"operations": 2, "operators": "*", "modulus": 2}}}, "different problems"),
  ],
)
def test_bad_fields_are_one_clear_line(fields, message):
  with pytest.raises(ValueError) as error:
    build(**fields)
  assert message in str(error.value) and "\n" not in str(error.value)


def test_modulus_in_prompt():
  task = build(modulus_in_prompt=True)
  assert text_of(task, task.prompts(jnp.arange(3), "train"), 2) == "%10:3-1+2*1-2="
