"""The planted sequence: verdicts by hand and against a search, demonstrations, values of provers, edge cases."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.tasks import planted


@functools.cache
def built(**fields):
  task = planted.build({**planted.get_config(), **fields})
  prompts = lambda rows: task.prompts(jnp.zeros(rows, jnp.int32), "train")
  return task, prompts, jax.jit(task.verify), jax.jit(task.demonstrate), jax.jit(task.prover_values)


# Hand-computed.

RESPONSES = {
  "36035": 1,
  "36035.": 1,
  "0d36035ab.": 1,
  "3636035": 1,
  "36035..": 1,
  "3603": 0,
  "36.035": 0,
  "3603635": 0,
  "d6035": 0,
  "": 0,
  ".": 0,
}


def test_verdicts_by_hand(plain):
  task, prompts, verify, *_ = built()
  tokens, mask = plain.respond(task, list(RESPONSES))
  verdicts = verify(prompts(len(RESPONSES)), tokens, mask)
  assert dict(zip(RESPONSES, verdicts.rewards.tolist(), strict=True)) == RESPONSES
  assert verdicts.reward_mask.all() and not verdicts.extras
  for row, text in enumerate(RESPONSES):
    read = len(text.partition(".")[0]) + ("." in text)
    np.testing.assert_array_equal(
      verdicts.step_ids[row], [*range(read), *[-1] * (tokens.shape[1] - read)], err_msg=f"{text}: a token is a step"
    )
  assert not verify(prompts(len(RESPONSES)), tokens[:, :3], mask[:, :3]).rewards.any(), "three slots hold no target"


def test_the_worked_example_of_the_spec(plain):
  """After 3, 6, 0 the prover of gamma 10 has come nearer with each word; the word d takes it back."""
  task, prompts, _, _, values = built()
  tokens, mask = plain.respond(task, ["360d"])
  found = values(prompts(1), tokens, mask, 10.0)
  q = [0.0455242253, 0.0578635073, 0.0938164390, 0.1886030283, 0.0198845674]
  np.testing.assert_allclose(found.before[0], q[:-1], rtol=1e-6)
  np.testing.assert_allclose(found.after[0], q[1:], rtol=1e-6)
  progress = [0.0123392820, 0.0359529317, 0.0947865893, -0.1687184610]
  np.testing.assert_allclose((found.after - found.before)[0], progress, rtol=1e-5)


@pytest.mark.parametrize(
  ("gamma", "value"), [(5, 0.0053947), (10, 0.0455242), (15, 0.1181029), (50, 0.585071), (100, 0.815088)]
)
def test_values_of_the_bare_prompt(plain, gamma, value):
  task, prompts, _, _, values = built()
  np.testing.assert_allclose(values(prompts(1), *plain.respond(task, ["3"]), gamma).before, [[value]], atol=1e-6)


# Against a search.


def spoiled(rows, width, rng):
  """Responses of two words with some end tokens and padding, ids that are none, and holes in the mask."""
  tokens = rng.choice(4, (rows, width), p=[0.02, 0.08, 0.45, 0.45])
  tokens[rng.random(tokens.shape) < 0.02] = rng.choice([-3, 10_000])
  return tokens.astype(np.int32), rng.random((rows, width)) > 0.03


def test_verdicts_and_values_agree_with_a_search_in_text():
  task, prompts, verify, _, values = built(target="010", words=2, response_tokens=7)
  tokens, mask = spoiled(400, 7, np.random.default_rng(0))
  rewards = np.asarray(verify(prompts(400), tokens, mask).rewards)
  found = jax.device_get(values(prompts(400), tokens, mask, 4.0))
  for row in range(400):
    text = ""
    for token, is_there in zip(tokens[row], mask[row], strict=True):
      if not is_there:
        break
      text += task.vocabulary.symbols[token] if 2 <= token < 4 else "."
      if text.endswith("."):
        break
    assert rewards[row] == ("010" in text), text
    outside = np.arange(7) >= len(text)
    assert not found.before[row][outside].any() and not found.after[row][outside].any()
    if text and (len(text) == 7 or text.endswith(".")):
      np.testing.assert_allclose(found.after[row, len(text) - 1], rewards[row], atol=1e-6)
    np.testing.assert_allclose(found.before[row, 1 : len(text)], found.after[row, : max(len(text) - 1, 0)])
  assert 0.05 < rewards.mean() < 0.9


# Demonstrations.


def test_demonstrations_succeed_as_often_as_their_policy(plain):
  task, prompts, verify, demonstrate, values = built(gamma=15.0)
  tokens, mask = demonstrate(jax.random.key(0), prompts(8000))
  rewards = verify(prompts(8000), tokens, mask).rewards
  assert abs(float(rewards.mean()) - 0.1181029) < 0.01
  assert set(np.unique(tokens[mask])) == {1, *range(2, 16)}, "the end token and the words"
  ended = (tokens == task.vocabulary.end_id) & mask
  assert (ended.sum(axis=1) <= 1).all() and (mask.sum(axis=1)[~ended.any(axis=1)] == 10).all()
  assert abs(float((tokens[:, 0] == 5).mean()) - 15 / 29) < 0.02, "the word 3 comes first"


def test_progress_of_a_prover_is_nothing_on_average_over_its_own_responses():
  _, prompts, _, demonstrate, values = built(gamma=15.0)
  tokens, mask = demonstrate(jax.random.key(1), prompts(8000))
  found = values(prompts(8000), tokens, mask, 15.0)
  progress = found.after - found.before
  assert abs(float(progress.sum(axis=1).mean())) < 0.01 < float(jnp.abs(progress).sum(axis=1).mean())


def test_a_lure_makes_the_likeliest_word_a_wrong_one(plain):
  task, prompts, verify, demonstrate, _ = built(lure=8.0)
  tokens, mask = demonstrate(jax.random.key(2), prompts(8000))
  first = np.bincount(np.asarray(tokens[:, 0]), minlength=16) / 8000
  d, three = (task.vocabulary.encode(word)[0] for word in "d3")
  np.testing.assert_allclose(first[[d, three]], [8 / 26, 5 / 26], atol=0.02)
  assert float(verify(prompts(8000), tokens, mask).rewards.mean()) < 0.004


# Edge cases.


def test_the_problem_is_the_same_for_every_id_and_split():
  task, *_ = built()
  ids = task.problem_ids(jax.random.key(0), 5, "held_out")
  train, held_out = (task.prompts(ids, split) for split in ("train", "held_out"))
  np.testing.assert_array_equal(train.tokens, held_out.tokens)
  assert train.tokens.tolist() == [[task.vocabulary.end_id]] * 5 and train.mask.all()


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"target": ""}, "task.target: got '', want 1 to 10 of the words '0123456789abcd'"),
    ({"target": "36e"}, "task.target: got '36e', want 1 to 10 of the words '0123456789abcd'"),
    ({"target": 36035}, "task.target: got 36035, want"),
    ({"response_tokens": 4}, "task.target: got '36035', want 1 to 4 of the words"),
    ({"response_tokens": 0}, "task.response_tokens: got 0, want a whole number from 1 to 1024"),
    ({"words": 37}, "task.words: got 37, want a whole number from 2 to 36"),
    ({"gamma": 0.5}, "task.gamma: got 0.5, want a finite number from 1 to 1e+06"),
    ({"lure": 2.0, "target": "36d"}, "task.lure=2: the last word 'd' lures, but target='36d' has it"),
    ({"lure": 0.0}, "task.lure: got 0.0, want a finite number from 1 to 1e+06"),
    ({"gama": 2.0}, "task: unknown field 'gama'; did you mean 'gamma'"),
  ],
)
def test_bad_fields_are_one_clear_line(fields, message):
  with pytest.raises(ValueError) as error:
    planted.build(fields)
  assert message in str(error.value) and "\n" not in str(error.value)
