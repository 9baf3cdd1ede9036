"""Words in cipher: rewards by hand and against plain Python, expected rewards, demonstrations, splits, edge cases."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.tasks import cipher
from rl_jax.tasks.task import Prompts

MIXED = {"levels": {"four": {"letters": 4}, "two": {"letters": 2, "weight": 2.0}}, "alphabet": 8}


@functools.cache
def built(**fields):
  task = cipher.build({**cipher.get_config(), **MIXED, **fields})
  functions = task.verify, task.demonstrate, task.step_values
  return task, jax.jit(task.prompts, static_argnums=1), *map(jax.jit, functions)


def prompts_of(rows, letters):
  """One word for all rows; -1 after its last letter."""
  none = jnp.zeros((rows, 1), jnp.int32)
  return Prompts(none, none > 0, none[:, 0], none[:, 0], {"letters": jnp.tile(jnp.array(letters), (rows, 1))})


def texts_of(task, tokens, mask):
  return [task.vocabulary.decode(np.asarray(row)[np.asarray(there)]) for row, there in zip(tokens, mask, strict=True)]


# Hand-computed, of the word "cab", whose places have 1, 2 and 3 points, and each pair 2: 10 in all.

RESPONSES = {
  "201.": 1.0,
  "201": 1.0,
  "2017": 1.0,
  "2_1.": 0.4,
  "_01.": 0.7,
  "20.": 0.5,
  "20_.": 0.5,
  "102.": 0.2,
  "2.01": 0.1,
  "___.": 0.0,
  "cab.": 0.0,
  ".": 0.0,
  "": 0.0,
}


@pytest.mark.parametrize("reward", ["additive", "all_or_nothing"])
def test_verdicts_by_hand(reward, plain):
  task, _, verify, *_ = built(reward=reward)
  tokens, mask = plain.respond(task, list(RESPONSES))
  verdicts = verify(prompts_of(len(RESPONSES), [2, 0, 1, -1]), tokens, mask)
  for row, (text, points) in enumerate(RESPONSES.items()):
    assert verdicts.rewards[row] == (np.float32(points) if reward == "additive" else points == 1), text
    assert verdicts.extras["answer_correct"][row] == (points == 1), text
    steps = min(len(text.partition(".")[0]) + ("." in text), 3)
    np.testing.assert_array_equal(verdicts.step_ids[row], [*range(steps), *[-1] * (tokens.shape[1] - steps)])
  assert verdicts.reward_mask.all()
  right = verdicts.extras["step_correct"]
  np.testing.assert_array_equal(right[list(RESPONSES).index("2_1.")], [True, False, True, False])
  narrow = task.verify(prompts_of(len(RESPONSES), [2, 0, 1, -1]), tokens[:, :2], mask[:, :2])
  assert narrow.rewards.max() == (np.float32(0.5) if reward == "additive" else 0), "two slots hold no more"
  np.testing.assert_allclose(verdicts.extras["part/right"][list(RESPONSES).index("20.")], 2 / 3)


def test_weights_are_repeated_and_pairs_may_earn_nothing(plain):
  task = cipher.build({**cipher.get_config(), **MIXED, "weights": (1, 3), "pair_bonus": 0})
  rewards = task.verify(prompts_of(3, [0, 1, 2, 3]), *plain.respond(task, ["01_3.", "0___.", "_1__."])).rewards
  np.testing.assert_allclose(rewards, [7 / 8, 1 / 8, 3 / 8])


def test_expected_rewards_by_hand(plain):
  """Each place is right in half of the rows, whatever the one before is. 1 and 2 points, and 2 for both."""
  task, *_, values = built()
  tokens, mask = plain.respond(task, ["01.", "0_.", "_1.", "__."])
  found = values(prompts_of(4, [0, 1, -1, -1]), tokens, mask, np.ones(4, bool))
  np.testing.assert_allclose(found.before, [[0.4, 0.6, 0], [0.4, 0.6, 0], [0.4, 0.2, 0], [0.4, 0.2, 0]], rtol=1e-6)
  np.testing.assert_allclose(found.after, [[0.6, 1, 0], [0.6, 0.2, 0], [0.2, 0.4, 0], [0.2, 0, 0]], rtol=1e-6)
  *_, values = built(reward="all_or_nothing")
  found = values(prompts_of(4, [0, 1, -1, -1]), tokens, mask, np.ones(4, bool))
  np.testing.assert_allclose(found.before, [[0.25, 0.5, 0], [0.25, 0.5, 0], [0.25, 0, 0], [0.25, 0, 0]], rtol=1e-6)
  np.testing.assert_allclose(found.after, [[0.5, 1, 0], [0.5, 0, 0], [0, 0, 0], [0, 0, 0]], rtol=1e-6)


# Against plain Python.


def plain_points(right) -> int:
  pairs = sum(a and b for a, b in zip(right, right[1:], strict=False))
  return sum(w for w, r in zip((1, 2, 3, 1), right, strict=False) if r) + 2 * pairs


def test_prompts_and_verdicts_agree_with_plain_python():
  task, prompts_by_id, verify, demonstrate, _ = built()
  for split in ("train", "held_out"):
    prompts = prompts_by_id(task.problem_ids(jax.random.key(1), 200, split), split)
    tokens, mask = (np.array(x) for x in demonstrate(jax.random.key(2), prompts))
    rng = np.random.default_rng(0)
    rows, places = rng.integers(0, 200, 60), rng.integers(0, task.response_tokens, 60)
    tokens[rows, places] = rng.choice([-3, 10_000, *range(len(task.vocabulary))], 60)
    mask[rng.integers(0, 200, 30), rng.integers(0, task.response_tokens, 30)] ^= True
    rewards = verify(prompts, tokens, mask).rewards
    for row, question in enumerate(texts_of(task, prompts.tokens, prompts.mask)):
      word, right = question.removesuffix("="), []
      assert len(word) == {"four": 4, "two": 2}[task.levels[prompts.levels[row]]]
      for place in range(len(word)):
        begun = mask[row, : place + 1].all() and (tokens[row, :place] != task.vocabulary.end_id).all()
        right.append(
          bool(begun and tokens[row, place] == task.vocabulary.encode(str("abcdefgh".index(word[place])))[0])
        )
      expected = plain_points(right) / plain_points([True] * len(word))
      np.testing.assert_allclose(rewards[row], expected, rtol=1e-6)
    assert 0.3 < rewards.mean() < 0.9


def test_no_word_is_in_both_splits_and_levels_have_their_shares():
  task, prompts_by_id, *_ = built()
  ids = task.problem_ids(jax.random.key(0), 2000, "train")
  train, held_out = (prompts_by_id(ids, split) for split in ("train", "held_out"))
  texts = [set(texts_of(task, part.tokens, part.mask)) for part in (train, held_out)]
  assert not texts[0] & texts[1] and len(texts[0]) > 500
  assert abs(float((train.levels == task.levels.index("two")).mean()) - 2 / 3) < 0.05


# Expected rewards.


def test_credit_of_steps_is_nothing_on_average_in_every_place():
  """Of a policy for which a right symbol is likelier after a right one: as values say what is to come."""
  task, prompts_by_id, verify, _, values_of = built()
  prompts = prompts_by_id(jnp.arange(4000), "train")
  letters, rng = np.asarray(prompts.metadata["letters"]), np.random.default_rng(0)
  right = np.zeros(letters.shape, bool)
  for place in range(letters.shape[1]):
    before = right[:, place - 1] if place else np.zeros(len(letters), bool)
    right[:, place] = rng.random(len(letters)) < np.where(before, 0.8, 0.3)
  tokens = np.pad(np.where(right, 2 + letters, task.blank_token), ((0, 0), (0, 1)), constant_values=1).astype(np.int32)
  tokens[letters.shape[1] - (letters < 0).sum(axis=1)[:, None] == np.arange(tokens.shape[1])] = 1
  mask = np.ones(tokens.shape, bool)
  values = values_of(prompts, tokens, mask, np.ones(len(tokens), bool))
  rewards, credit = verify(prompts, tokens, mask).rewards, values.after - values.before
  np.testing.assert_allclose(credit.mean(axis=0), 0, atol=1e-6)
  np.testing.assert_allclose(values.before[:, 0] + credit.sum(axis=1), rewards, atol=1e-6)
  level = np.asarray(prompts.levels) == 0
  c = {False: 0.3, True: 0.8}
  ahead, points = {False: 0.0, True: 0.0}, [1, 2, 3, 1]
  for place in reversed(range(4)):  # 13 points in all
    ahead = {s: c[s] * (points[place] + 2 * s + ahead[True]) + (1 - c[s]) * ahead[False] for s in ahead}
  np.testing.assert_allclose(np.asarray(values.before)[level, 0].mean(), ahead[False] / 13, atol=0.02)


def test_a_response_that_ends_early_is_worth_its_reward(plain):
  """One that goes on may have the last symbol right after a wrong one, as the third has: 5 and 1 of 13 points."""
  task, *_, values = built()
  tokens, mask = plain.respond(task, ["01.", "0123.", "_1_3."])
  prompts = prompts_of(3, [0, 1, 2, 3])
  ended, going_on = (values(prompts, tokens, mask, np.array([finished, True, True])) for finished in (True, False))
  np.testing.assert_allclose([ended.after[0, 2], going_on.after[0, 2]], [5 / 13, 6 / 13], rtol=1e-6)
  assert not ended.after[0, 3:].any() and not ended.before[:, 4].any(), "no step"


# Demonstrations.


def test_demonstrations_err_in_each_symbol_as_often_as_they_say():
  task, prompts_by_id, verify, demonstrate, _ = built(error_rate=0.3, lure_rate=0.5)
  prompts = prompts_by_id(jnp.arange(4000), "train")
  tokens, mask = demonstrate(jax.random.key(3), prompts)
  verdicts = verify(prompts, tokens, mask)
  letters = np.asarray(prompts.metadata["letters"])
  exists = letters >= 0
  np.testing.assert_array_equal(np.asarray(mask).sum(axis=1), exists.sum(axis=1) + 1)
  slips = (np.asarray(tokens)[:, :4] - 2 - letters)[exists] % 8
  share = np.bincount(slips, minlength=8) / exists.sum()
  np.testing.assert_allclose(share, [0.35, 0.35 + 0.3 / 7, *[0.3 / 7] * 6], atol=0.015)
  both = np.asarray(verdicts.extras["step_correct"])[:, :2].all(axis=1).mean()
  assert abs(both - 0.35**2) < 0.02, "independently"


def test_demonstrations_without_errors_are_right():
  task, prompts_by_id, verify, demonstrate, _ = built(error_rate=0.0)
  prompts = prompts_by_id(jnp.arange(100), "held_out")
  assert (verify(prompts, *demonstrate(jax.random.key(0), prompts)).rewards == 1).all()


# Edge cases.


def test_what_the_task_says_of_itself():
  task, *_ = built()
  assert task.vocabulary.symbols[task.blank_token] == "_"
  np.testing.assert_allclose(task.guessing_floor, (8.0**-4 + 2 * 8.0**-2) / 3)


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"alphabet": 11}, "task.alphabet: got 11, want a whole number from 2 to 10"),
    ({"reward": "sum"}, "task.reward: got 'sum', want one of additive, all_or_nothing"),
    ({"weights": ()}, "task.weights: got (), want a tuple of whole numbers"),
    ({"weights": (1, 0.5)}, "task.weights[1]: got 0.5, want a whole number from 1 to 1000"),
    ({"pair_bonus": -1}, "task.pair_bonus: got -1, want a whole number from 0 to 1000"),
    ({"levels": {"one": {"letters": 1}}}, "task.levels.one.letters: got 1, want a whole number from 2 to 16"),
    ({"error_rate": 2.0}, "task.error_rate: got 2.0, want a finite number from 0 to 1"),
    ({"leters": 2}, "task: unknown field 'leters'"),
  ],
)
def test_bad_fields_are_one_clear_line(fields, message):
  with pytest.raises(ValueError) as error:
    cipher.build(fields)
  assert message in str(error.value) and "\n" not in str(error.value)
