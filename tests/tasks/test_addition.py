"""Addition: hand-computed, against plain Python, demonstrations, edge cases."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from rl_jax.tasks import addition, worked_steps
from rl_jax.tasks.task import Prompts

MIXED = {"nine": {"digits": 9}, "one": {"digits": 1}, "two": {"digits": 2, "weight": 2.0}}
PINNED_TRAIN = ["739+409=", "338+423=", "537+660="]


def build(**fields):
  """The task, its functions jitted."""
  task = addition.build(ml_collections.ConfigDict({**addition.get_config(), **fields}))
  return dataclasses.replace(
    task,
    prompts=jax.jit(task.prompts, static_argnums=1),
    verify=jax.jit(task.verify),
    demonstrate=jax.jit(task.demonstrate),
  )


def text_of(task, prompts, row):
  return task.vocabulary.decode(np.asarray(prompts.tokens[row])[np.asarray(prompts.mask[row])])


def steps_of(first, second, digits):
  """10 * digit + carry of each place."""
  carry, values = 0, []
  for place in range(digits):
    total = first // 10**place % 10 + second // 10**place % 10 + carry
    carry = total // 10
    values.append(10 * (total % 10) + carry)
  return values


# Hand-computed: 34 + 58.

RESPONSES = {  # response: (reward, step ids, step correct, true values)
  "a21b90#92.": (1, [0, 0, 0, 1, 1, 1, 2, 2, 2, 2], [1] * 10, [21] * 3 + [90] * 3 + [92] * 4),
  "#92.": (1, [0] * 4, [1] * 4, [92] * 4),
  "#092.": (0, [0] * 5, [0] * 5, [92] * 5),
  "#29.": (0, [0] * 4, [0] * 4, [92] * 4),
  "b90b90#92.": (1, [0, 0, 0, 1, 1, 1, 2, 2, 2, 2], [1] * 10, [90] * 6 + [92] * 4),
  "a20b80#82.": (0, [0, 0, 0, 1, 1, 1, 2, 2, 2, 2], [0] * 10, [21] * 3 + [90] * 3 + [82 + 10] * 4),
  "a2b90#92.": (1, [0, 0, 1, 1, 1, 2, 2, 2, 2], [0, 0] + [1] * 7, [21] * 2 + [90] * 3 + [92] * 4),
  "a21": (0, [0] * 3, [1] * 3, [21] * 3),
  "c10#92": (0, [0] * 3 + [1] * 3, [0] * 6, [-1] * 3 + [92] * 3),
}


def test_verdicts_by_hand(plain):
  task = build()
  n = len(RESPONSES)
  ones, answers = jnp.ones(n, jnp.int32), jnp.full(n, 92)
  metadata = worked_steps.metadata(
    jnp.tile(jnp.array([[21, 90]]), (n, 1)),
    2 * ones,
    2 * ones,
    answers,
    worked_steps.number_tokens(answers, 2 * ones, 3),
  )
  prompts = Prompts(tokens=ones[:, None], mask=ones[:, None] > 0, ids=ones, levels=ones, metadata=metadata)
  tokens, mask = plain.respond(task, list(RESPONSES))
  verdicts = task.verify(prompts, tokens, mask)
  for row, (text, (reward, step_ids, correct, true)) in enumerate(RESPONSES.items()):
    size = len(text)
    assert verdicts.rewards[row] == reward, text
    assert verdicts.step_ids[row, :size].tolist() == step_ids, text
    assert verdicts.extras["step_correct"][row, :size].tolist() == [bool(c) for c in correct], text
    assert verdicts.extras["step_true_values"][row, :size].tolist() == true, text


def test_the_problems_of_an_id_stay_the_same():
  task = build()
  prompts = task.prompts(jnp.array([0, 1, 2**31 - 2]), "train")
  assert [text_of(task, prompts, row) for row in range(3)] == PINNED_TRAIN


def test_widths():
  task = build(levels=MIXED, spare_tokens=3)
  assert (task.prompt_tokens, task.response_tokens, len(task.vocabulary)) == (20, 9 * 3 + 1 + 10 + 1 + 3, 31)


# Against plain Python.


@pytest.mark.parametrize("levels", [{"four": {"digits": 4}}, MIXED])
def test_prompts_and_verdicts_agree_with_plain_python(plain, levels):
  task = build(levels=levels, step_error_rate=0.2, skip_rate=0.2, recheck_rate=0.3)
  rng = np.random.default_rng(0)
  for split in ("train", "held_out"):
    prompts = jax.device_get(task.prompts(task.problem_ids(jax.random.key(1), 240, split), split))
    for row in range(240):
      text = text_of(task, prompts, row)
      first, second = text.removesuffix("=").split("+")
      digits = levels[task.levels[prompts.levels[row]]]["digits"]
      assert len(first) == len(second) == digits and str(int(first)) == first and str(int(second)) == second
      want = steps_of(int(first), int(second), digits)
      values = prompts.metadata["step_values"][row].tolist()
      assert values == want + [-1] * (len(values) - digits)
      assert prompts.metadata["answers"][row] == int(first) + int(second)
    tokens, mask = task.demonstrate(jax.random.key(2), prompts)
    rewards = plain.assert_agrees(task, prompts, tokens, mask)
    assert 0.1 < rewards.mean() < 0.9
    plain.assert_agrees(task, prompts, *plain.spoil(task, tokens, mask, rng))


# Demonstrations.


def test_flawless_demonstrations_are_right_and_write_every_step():
  task = build(levels=MIXED, step_error_rate=0.0, skip_rate=0.0, recheck_rate=0.0, spare_tokens=0)
  prompts = task.prompts(jnp.arange(200), "held_out")
  tokens, mask = task.demonstrate(jax.random.key(0), prompts)
  verdicts = task.verify(prompts, tokens, mask)
  assert verdicts.rewards.all()
  np.testing.assert_array_equal(verdicts.extras["step_correct"], mask)


def test_the_answer_follows_the_stated_steps():
  task = build(levels=MIXED, step_error_rate=0.5, skip_rate=0.0, recheck_rate=0.0)
  prompts = task.prompts(jnp.arange(300), "train")
  tokens, mask = task.demonstrate(jax.random.key(0), prompts)
  for row in range(300):
    text = task.vocabulary.decode(np.asarray(tokens[row])[np.asarray(mask[row])])
    steps, answer = text.removesuffix("<end>").split("#")
    digits, carry = steps[1::3][::-1], steps[-1]
    assert answer == str(int(carry + digits)), text


def test_accuracy_of_demonstrations():
  task = build(step_error_rate=0.2, skip_rate=0.3, recheck_rate=0.3)
  n = 4000
  prompts = task.prompts(jnp.arange(n), "train")
  tokens, mask = task.demonstrate(jax.random.key(5), prompts)
  accuracy = float(task.verify(prompts, tokens, mask).rewards.mean())
  # Two slips can hardly cancel (the digit stays wrong), so all three steps must be right.
  assert abs(accuracy - 0.8**3) < 4 * np.sqrt(0.8**3 * (1 - 0.8**3) / n) + 0.002
  assert mask.sum(axis=1).max() <= task.response_tokens


# Edge cases.


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"levels": {"x": {"digits": 10}}}, "task.levels.x.digits: got 10, want a whole number from 1 to 9"),
    ({"levels": {"x": {"digits": 2.0}}}, "task.levels.x.digits"),
    ({"levels": {"x": {"digit": 2}}}, "did you mean 'digits'"),
    ({"recheck_rate": "often"}, "task.recheck_rate"),
  ],
)
def test_bad_fields_are_one_clear_line(fields, message):
  with pytest.raises(ValueError) as error:
    build(**fields)
  assert message in str(error.value) and "\n" not in str(error.value)
