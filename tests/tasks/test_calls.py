"""Calls of a tool: episodes by hand, against a plain reading, demonstrations, what is refused."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.tasks import calls
from rl_jax.tasks.task import Prompts

FIELDS = {"levels": {"five": {"operands": 5}, "three": {"operands": 3}}, "thinking": 3}


@functools.cache
def built(**fields):
  task = calls.build({**calls.get_config(), **FIELDS, **fields})
  return task, jax.jit(task.prompts, static_argnums=1), jax.jit(task.verify), jax.jit(task.demonstrate)


def verdict(*turns):
  """Of one episode with the answer 3 and the tool's 1; '.' is a thought and '$' the end token."""
  task, _, verify, _ = built()
  layout = task.turns
  tokens, mask = np.full((1, layout.response_tokens), 7, np.int32), np.zeros((1, layout.response_tokens), bool)
  for number, text in enumerate(turns):
    ids = [task.vocabulary.end_id if c == "$" else task.vocabulary.encode(c)[0] for c in text]
    slots = layout.start(number) + np.arange(len(ids))
    tokens[0, slots], mask[0, slots] = ids, True
  one = jnp.ones(1, jnp.int32)
  prompts = Prompts(one[:, None], one[:, None] > 0, one, one, {"answers": 3 * one, "partial_sums": one})
  return jax.device_get(verify(prompts, tokens, mask))


def told(verdicts):
  extras = verdicts.extras
  return built()[0].vocabulary.decode(extras["observation"][0][extras["observation_mask"][0]]), bool(extras["done"][0])


EPISODES = {  # turns: (reward, answer, first call, what the tool says, over)
  ("!",): (0, -1, 0, ">1", False),
  ("...!",): (0, -1, 3, ">1", False),
  ("#7.!",): (0, -1, 3, ">1", False),
  ("!", "#3$"): (1, 3, 0, "", True),
  ("...!", "#3$"): (1, 3, 3, "", True),
  (".!", "...#3$"): (1, 3, 1, "", True),
  ("!", "#4$"): (0, 4, 0, "", True),
  ("!", "..!"): (0, -1, 0, "", True),
  ("#3$",): (1, 3, -1, "", True),
  ("..#3$",): (1, 3, -1, "", True),
  ("#4$",): (0, 4, -1, "", True),
  ("#4$", "#3$"): (0, 4, -1, "", True),
  ("#33$",): (0, -1, -1, "", True),
  ("#3",): (0, -1, -1, "", True),
  ("#$#3$",): (0, -1, -1, "", True),
  (".#",): (0, -1, -1, "", True),
  ("$!",): (0, -1, -1, "", True),
  ("",): (0, -1, -1, "", True),
}


@pytest.mark.parametrize("turns", EPISODES)
def test_episodes_by_hand(turns):
  verdicts = verdict(*turns)
  reward, answer, first_call, observation, done = EPISODES[turns]
  assert verdicts.rewards == [reward] and verdicts.extras["answer_correct"] == [reward == 1]
  assert verdicts.extras["answer_ids"] == [answer] and verdicts.extras["first_call"] == [first_call]
  assert told(verdicts) == (observation, done)


def test_steps_are_turns():
  layout = built()[0].turns
  steps = np.full(layout.response_tokens, -1)
  steps[layout.slots[0][:2]], steps[layout.slots[1][:3]] = 0, 1
  np.testing.assert_array_equal(verdict(".!", "#3$").step_ids[0], steps)


def read(task, metadata, row, tokens, mask):
  """(reward, first call, over) of one episode, symbol by symbol."""
  symbols, first_call = task.vocabulary.symbols, -1
  for turn, slots in enumerate(task.turns.slots):
    text = []
    for slot in slots:
      if not mask[slot] or (text and text[-1] in ("!", "<end>")):
        break
      text.append(symbols[tokens[slot]] if 0 <= tokens[slot] < len(symbols) else "~")
    if turn == 0 and text and text[-1] == "!":
      first_call = len(text) - 1
      if not mask[task.turns.slots[1][0]]:
        return 0, first_call, False
      continue
    after = text[text.index("#") :] if "#" in text else []
    return int(after == ["#", str(metadata["answers"][row]), "<end>"]), first_call, True


def test_garbage_agrees_with_a_plain_reading():
  task, prompts_of, verify, demonstrate = built()
  problems = prompts_of(jnp.arange(300), "train")
  tokens, mask = (np.array(x) for x in demonstrate(jax.random.key(1), problems))
  rng = np.random.default_rng(0)
  rows, places = rng.integers(0, 300, 200), rng.integers(0, task.response_tokens, 200)
  tokens[rows, places] = rng.choice([-3, 10_000, *range(len(task.vocabulary))], 200)
  mask[rng.integers(0, 300, 90), rng.integers(0, task.response_tokens, 90)] ^= True
  verdicts = jax.device_get(verify(problems, tokens, mask))
  metadata, ends = jax.device_get(problems.metadata), set()
  for row in range(300):
    expected = read(task, metadata, row, tokens[row], mask[row])
    extras = verdicts.extras
    assert (verdicts.rewards[row], extras["first_call"][row], extras["done"][row]) == expected
    assert extras["observation_mask"][row].all() == (not expected[2])
    ends.add((expected[0], expected[2]))
  assert ends == {(0, False), (0, True), (1, True)}


def test_prompts_and_what_the_tool_says_agree_with_plain_python():
  task, prompts_of, verify, _ = built()
  texts = []
  for split in ("train", "held_out"):
    prompts = jax.device_get(prompts_of(jnp.arange(200), split))
    found = [task.vocabulary.decode(t[m]) for t, m in zip(prompts.tokens, prompts.mask, strict=True)]
    texts.append({text for text in found if len(text) == 10})
    for row, text in enumerate(found):
      operands = [int(digit) for digit in text.removesuffix("=").split("+")]
      assert len(operands) == {"five": 5, "three": 3}[task.levels[prompts.levels[row]]]
      assert prompts.metadata["answers"][row] == sum(operands) % 10
      assert prompts.metadata["partial_sums"][row] == sum(operands[:-1]) % 10
  assert len(texts[0]) > 50 and not texts[0] & texts[1]


# Demonstrations.


@pytest.mark.parametrize(("direct", "errors", "accuracy"), [(0.0, 0.0, 1.0), (0.0, 0.3, 0.7), (1.0, 0.0, 0.1)])
def test_demonstrations_are_as_right_early_as_late(direct, errors, accuracy):
  task, prompts_of, verify, demonstrate = built(direct_rate=direct, error_rate=errors)
  problems = prompts_of(jnp.arange(4000), "train")
  tokens, mask = demonstrate(jax.random.key(0), problems)
  verdicts = jax.device_get(verify(problems, tokens, mask))
  assert abs(verdicts.rewards.mean() - accuracy) < 0.03 and verdicts.extras["done"].all()
  assert ((verdicts.step_ids >= 0) == (np.asarray(mask) & ~task.turns.observed)).all()
  first = verdicts.extras["first_call"]
  if direct:
    assert (first == -1).all()
    return
  np.testing.assert_allclose(np.bincount(first, minlength=4) / 4000, 0.25, atol=0.03)
  by_time = [verdicts.rewards[first == position].mean() for position in range(4)]
  np.testing.assert_allclose(by_time, accuracy, atol=0.06)
  said = np.asarray(tokens)[:, task.turns.observed][:, 1] - task.vocabulary.encode("0")[0]
  np.testing.assert_array_equal(said, problems.metadata["partial_sums"])


def test_the_forced_answer_is_the_answer():
  task, prompts_of, *_ = built()
  problems = prompts_of(jnp.arange(4), "train")
  tokens, mask = task.forced_answer.answers(problems)
  assert task.vocabulary.decode(task.forced_answer.opening) == "#" and mask.all()
  assert [task.vocabulary.decode(row) for row in tokens] == [f"{a}<end>" for a in problems.metadata["answers"]]


# Edge cases.


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"levels": {"x": {"operands": 10}}}, "task.levels.x.operands: got 10, want a whole number from 2 to 9"),
    ({"modulus": 1}, "task.modulus: got 1, want a whole number from 2 to 10"),
    ({"thinking": -1}, "task.thinking: got -1, want a whole number from 0 to 1024"),
    ({"direct_rate": 2.0}, "task.direct_rate: got 2.0, want a finite number from 0 to 1"),
    ({"error_rate": 2.0}, "task.error_rate: got 2.0, want a finite number from 0 to 1"),
    ({"operands": 3}, "task: unknown field 'operands'"),
  ],
)
def test_fields_that_make_no_sense_are_one_line(fields, message):
  with pytest.raises(ValueError, match=message):
    calls.build(fields)


def test_a_response_of_another_width_is_one_line():
  task, prompts_of, *_ = built()
  with pytest.raises(ValueError, match="a response of 2 turns has 14 slots, got 6"):
    task.verify(prompts_of(jnp.arange(1), "train"), jnp.zeros((1, 6), jnp.int32), jnp.ones((1, 6), bool))
