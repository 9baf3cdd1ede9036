"""Pairs of digits: verdicts by hand and against plain Python, demonstrations, splits, edge cases."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.tasks import pairs
from rl_jax.tasks.task import Prompts

MIXED = {"levels": {"three": {"operands": 3}, "two": {"operands": 2, "weight": 2.0}}}


@functools.cache
def built(**fields):
  task = pairs.build({**pairs.get_config(), **MIXED, **fields})
  return task, jax.jit(task.prompts, static_argnums=1), jax.jit(task.verify), jax.jit(task.demonstrate)


def texts_of(task, tokens, mask):
  return [task.vocabulary.decode(np.asarray(row)[np.asarray(there)]) for row, there in zip(tokens, mask, strict=True)]


# Hand-computed, of the sum 3.

RESPONSES = {  # response: (reward, answer id, rare)
  "12.": (1, 12, 0),
  "21.": (1, 21, 0),
  "85.": (1, 85, 1),
  "84.": (0, 84, 0),
  "03.": (1, 3, 0),
  "3.": (0, -1, 0),
  "123": (0, -1, 0),
  "12": (0, -1, 0),
  "012.": (0, -1, 0),
  "+2.": (0, -1, 0),
  "": (0, -1, 0),
}


def test_verdicts_by_hand(plain):
  """With skew 0.4 first digits from 5 on are in less than 0.05 of the demonstrations."""
  task, _, verify, _ = built()
  none = jnp.zeros((len(RESPONSES), 1), jnp.int32)
  prompts = Prompts(none, none > 0, none[:, 0], none[:, 0], {"sums": none[:, 0] + 3})
  tokens, mask = plain.respond(task, list(RESPONSES))
  verdicts = verify(prompts, tokens, mask)
  for row, (text, expected) in enumerate(RESPONSES.items()):
    found = verdicts.rewards[row], verdicts.extras["answer_ids"][row], verdicts.extras["part/rare"][row]
    assert found == expected and verdicts.extras["answer_correct"][row] == expected[0], text
    np.testing.assert_array_equal(verdicts.step_ids[row], np.where(np.arange(tokens.shape[1]) < len(text), 0, -1))
  assert verdicts.reward_mask.all()
  narrow = task.verify(prompts, tokens[:, :2], mask[:, :2])
  assert not narrow.rewards.any(), "two slots hold no answer"


def test_modulus_decides_what_a_digit_is(plain):
  task = pairs.build({**pairs.get_config(), "modulus": 4, "levels": {"one": {"operands": 3}}})
  none = jnp.zeros((2, 1), jnp.int32)
  prompts = Prompts(none, none > 0, none[:, 0], none[:, 0], {"sums": none[:, 0] + 1})
  verdicts = task.verify(prompts, *plain.respond(task, ["32.", "41."]))
  assert verdicts.rewards.tolist() == [1, 0] and verdicts.extras["answer_ids"].tolist() == [32, -1]


def test_prompts_and_verdicts_agree_with_plain_python():
  task, prompts_of, verify, demonstrate = built()
  for split in ("train", "held_out"):
    prompts = prompts_of(task.problem_ids(jax.random.key(1), 200, split), split)
    tokens, mask = (np.array(x) for x in demonstrate(jax.random.key(2), prompts))
    rng = np.random.default_rng(0)
    rows, places = rng.integers(0, 200, 60), rng.integers(0, task.response_tokens, 60)
    tokens[rows, places] = rng.choice([-3, 10_000, *range(len(task.vocabulary))], 60)
    mask[rng.integers(0, 200, 30), rng.integers(0, task.response_tokens, 30)] ^= True
    rewards = verify(prompts, tokens, mask).rewards
    for row, question in enumerate(texts_of(task, prompts.tokens, prompts.mask)):
      operands = question.removesuffix("=").split("+")
      assert len(operands) == {"three": 3, "two": 2}[task.levels[prompts.levels[row]]]
      right = [f"{a}{b}" for a in range(10) for b in range(10) if (a + b) % 10 == sum(map(int, operands)) % 10]
      whole = mask[row, :3].all() and (tokens[row, :2] != task.vocabulary.end_id).all()
      symbols = ["?" if not 0 <= t < len(task.vocabulary) else task.vocabulary.symbols[t] for t in tokens[row, :3]]
      assert rewards[row] == (whole and symbols[2] == "<end>" and "".join(symbols[:2]) in right)
    assert 0.3 < rewards.mean() < 0.9


def test_no_problem_is_in_both_splits_and_levels_have_their_shares():
  task, prompts_of, *_ = built()
  ids = task.problem_ids(jax.random.key(0), 2000, "train")
  train, held_out = (prompts_of(ids, split) for split in ("train", "held_out"))
  texts = [set(texts_of(task, part.tokens, part.mask)) for part in (train, held_out)]
  assert not texts[0] & texts[1] and len(texts[0]) > 500
  assert abs(float((train.levels == task.levels.index("two")).mean()) - 2 / 3) < 0.05


# Demonstrations.


@pytest.mark.parametrize("skew", [0.0, 0.4])
def test_first_digits_of_demonstrations_have_the_skewed_law(skew):
  task, prompts_of, verify, demonstrate = built(skew=skew, error_rate=0.3)
  prompts = prompts_of(jnp.arange(8000), "train")
  tokens, mask = demonstrate(jax.random.key(3), prompts)
  verdicts = verify(prompts, tokens, mask)
  first = np.asarray(verdicts.extras["answer_ids"]) // 10
  chances = (1 - skew) ** np.arange(10)
  np.testing.assert_allclose(np.bincount(first, minlength=10) / 8000, chances / chances.sum(), atol=0.02)
  assert abs(float(verdicts.rewards.mean()) - 0.7) < 0.02
  rare = chances / chances.sum() < 0.05
  expected = 0.7 * (chances / chances.sum())[rare].sum()
  assert abs(float(verdicts.extras["part/rare"].mean()) - expected) < 0.015
  assert rare.any() == (skew > 0)


def test_demonstrations_without_errors_are_right():
  task, prompts_of, verify, demonstrate = built(error_rate=0.0)
  prompts = prompts_of(jnp.arange(100), "held_out")
  assert verify(prompts, *demonstrate(jax.random.key(0), prompts)).rewards.all()


def test_a_lure_makes_the_likeliest_second_digit_one_too_large():
  task, prompts_of, verify, demonstrate = built(error_rate=0.0, lure_rate=0.7)
  prompts = prompts_of(jnp.arange(4000), "train")
  answers = np.asarray(verify(prompts, *demonstrate(jax.random.key(0), prompts)).extras["answer_ids"])
  off = (answers // 10 + answers % 10 - np.asarray(prompts.metadata["sums"])) % 10
  assert set(off) == {0, 1} and abs(off.mean() - 0.7) < 0.03


# Edge cases.


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"levels": {"x": {"operands": 1}}}, "task.levels.x.operands: got 1, want a whole number from 2 to 9"),
    ({"modulus": 11}, "task.modulus: got 11, want a whole number from 2 to 10"),
    ({"skew": 1.0}, "task.skew: got 1.0, want a finite number from 0 to 0.99"),
    ({"error_rate": -0.1}, "task.error_rate: got -0.1"),
    ({"lure_rate": 1.1}, "task.lure_rate: got 1.1"),
    ({"spare_tokens": -1}, "task.spare_tokens"),
    ({"modulus": 2, "levels": {"x": {"operands": 2}}}, "only 4 different problems"),
    ({"skw": 0.5}, "task: unknown field 'skw'; did you mean 'skew'"),
  ],
)
def test_bad_fields_are_one_clear_line(fields, message):
  with pytest.raises(ValueError) as error:
    pairs.build(fields)
  assert message in str(error.value) and "\n" not in str(error.value)
