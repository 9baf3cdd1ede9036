"""Lookups against a plain reading of episodes, splits, demonstrations and what is refused."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.tasks import lookup

FIELDS = {"levels": {"one": {"hops": 1, "keys": 5}, "three": {"hops": 3, "keys": 8}}, "max_turns": 5}


@functools.cache
def built(**fields):
  task = lookup.build({**FIELDS, **fields})
  prompts = jax.jit(task.prompts, static_argnums=1)
  return task, prompts, jax.jit(task.verify), jax.jit(task.demonstrate)


def episode(task, *turns):
  """(tokens, mask) of one response; '.' is the end token. Observations are left as gaps."""
  layout = task.turns
  tokens, mask = np.full((1, layout.response_tokens), 7, np.int32), np.zeros((1, layout.response_tokens), bool)
  for number, text in enumerate(turns):
    ids = [task.vocabulary.end_id if c == "." else task.vocabulary.encode(c)[0] for c in text]
    slots = layout.start(number) + np.arange(len(ids))
    tokens[0, slots], mask[0, slots] = ids, True
  return tokens, mask


def one(level):
  """Facts of a problem of a level: (prompts, text, path as letters)."""
  task, prompts, *_ = built()
  found = prompts(jnp.arange(64), "train")
  row = int(np.flatnonzero(np.asarray(found.levels) == task.levels.index(level))[0])
  only = jax.tree.map(lambda x: x[row : row + 1], found)
  return only, task.vocabulary.decode(only.tokens[0]), [lookup.KEYS[i] for i in np.asarray(only.metadata["path"][0])]


def verdict(problem, *turns):
  task, _, verify, _ = built()
  return jax.device_get(verify(problem, *episode(task, *turns)))


def told(verdicts):
  task = built()[0]
  extras = verdicts.extras
  return task.vocabulary.decode(extras["observation"][0][extras["observation_mask"][0]]), bool(extras["done"][0])


def test_an_episode_by_hand():
  problem, text, path = one("three")
  assert text == f"{path[0]}3="
  questions = [f"?{key}." for key in path[:3]]
  for count in (1, 2, 3):
    verdicts = verdict(problem, *questions[:count])
    assert told(verdicts) == (f">{path[count]}", False) and verdicts.rewards == [0]
  right = verdict(problem, *questions, f"#{path[3]}.")
  assert told(right) == ("", True) and right.rewards == [1] and right.extras["answer_correct"].all()
  layout = built()[0].turns
  steps = np.full(layout.response_tokens, -1)
  for turn in range(4):
    steps[layout.slots[turn][:3]] = turn
  np.testing.assert_array_equal(right.step_ids[0], steps)
  np.testing.assert_array_equal(right.extras["step_correct"][0], steps >= 0)
  other = lookup.KEYS[(lookup.KEYS.index(path[3]) + 1) % 8]
  wrong = verdict(problem, *questions, f"#{other}.")
  assert told(wrong) == ("", True) and wrong.rewards == [0]
  assert verdict(problem, f"#{path[3]}.").rewards == [1], "a guess may be right"


def test_a_question_that_leads_astray_is_answered_but_no_step():
  problem, _, path = one("three")
  assert told(verdict(problem, "?z.")) == ("!", False)
  strays = next(key for key in lookup.KEYS[:8] if key != path[0])
  verdicts = verdict(problem, f"?{strays}.", f"?{path[0]}.")
  slots = built()[0].turns.slots
  np.testing.assert_array_equal(verdicts.extras["step_correct"][0][slots[:2, 0]], [False, True])


@pytest.mark.parametrize("turn", ["", "a", "?", "?a", "?a.a", "??.", "#1.", "=a.", "?aa."])
def test_any_other_turn_ends_the_episode(turn):
  problem, _, path = one("three")
  assert told(verdict(problem, turn)) == ("", True)
  after = verdict(problem, turn, f"#{path[3]}.")
  assert told(after) == ("", True) and after.rewards == [0] and (after.step_ids[0, 6:] == -1).all()


def test_the_last_turn_is_not_answered():
  problem, _, path = one("one")
  same = [f"?{path[0]}."] * 5
  assert told(verdict(problem, *same[:4])) == (f">{path[1]}", False)
  assert told(verdict(problem, *same)) == ("", True)


def test_garbage_agrees_with_a_plain_reading():
  """Episodes with symbols overwritten at random, of both levels: rewards, observations and ends."""
  task, prompts, verify, demonstrate = built()
  problems = prompts(jnp.arange(200), "train")
  tokens, mask = (np.array(x) for x in demonstrate(jax.random.key(1), problems))
  rng = np.random.default_rng(0)
  rows, places = rng.integers(0, 200, 150), rng.integers(0, task.response_tokens, 150)
  tokens[rows, places] = rng.choice([-3, 10_000, *range(len(task.vocabulary))], 150)
  mask[rng.integers(0, 200, 60), rng.integers(0, task.response_tokens, 60)] ^= True
  found = jax.device_get(verify(problems, tokens, mask))
  metadata = jax.device_get(problems.metadata)
  ends = set()
  for row in range(200):
    reward, observation, done = read(task, metadata, row, tokens[row], mask[row])
    extras = found.extras
    text = task.vocabulary.decode(extras["observation"][row][extras["observation_mask"][row]])
    assert (found.rewards[row], text, extras["done"][row]) == (reward, observation, done)
    ends.add((reward, done))
  assert ends == {(0, False), (0, True), (1, True)}


def read(task, metadata, row, tokens, mask):
  """(reward, observation, done) of one episode, turn by turn."""
  symbols = task.vocabulary.symbols
  for turn, slots in enumerate(task.turns.slots):
    if not mask[slots[0]]:
      return 0, "", True  # the first turn is missing: later ones are reached through a question
    text = [symbols[t] if 0 <= t < len(symbols) else "~" for t in tokens[slots]]
    whole = mask[slots].tolist() == [True, True, True, False] and text[1] in lookup.KEYS and text[2] == "<end>"
    if not whole or text[0] not in "?#":
      return 0, "", True
    key = lookup.KEYS.index(text[1])
    if text[0] == "#":
      return int(key == metadata["answers"][row]), "", True
    if turn == task.turns.max_turns - 1:
      return 0, "", True
    if not mask[task.turns.slots[turn + 1][0]]:
      known = key < metadata["sizes"][row]
      return 0, f">{lookup.KEYS[metadata['tables'][row][key]]}" if known else "!", False


def test_tables_of_the_splits_are_disjoint():
  _, prompts, *_ = built()
  contents = []
  for split in ("train", "held_out"):
    metadata = jax.device_get(prompts(jnp.arange(2000), split)).metadata
    columns = [metadata[name] for name in ("hops", "path", "tables")]
    contents.append({(h, p[0], *t) for h, p, t in zip(*columns, strict=True)})
  assert len(contents[0]) > 1500 and not contents[0] & contents[1]


def test_demonstrations_without_flaws_are_right_and_with_them_sometimes():
  for rates, low, high in (((0.0, 0.0), 1, 1), ((0.2, 0.2), 0.3, 0.8), ((0.0, 1.0), 0.05, 0.35)):
    task, prompts, verify, demonstrate = built(stray_rate=rates[0], guess_rate=rates[1])
    problems = prompts(jnp.arange(300), "train")
    tokens, mask = demonstrate(jax.random.key(0), problems)
    verdicts = verify(problems, tokens, mask)
    assert low <= verdicts.rewards.mean() <= high and verdicts.extras["done"].all()
    assert ((verdicts.step_ids >= 0) == (mask & ~task.turns.observed)).all()
  taken = np.asarray(mask)[:, task.turns.slots[:, 0]].sum(axis=1)
  assert (taken == 1).all(), "it always guesses at once"


def test_the_forced_answer_is_the_answer():
  task, prompts, *_ = built()
  problems = prompts(jnp.arange(4), "train")
  tokens, mask = task.forced_answer.answers(problems)
  assert task.vocabulary.decode(task.forced_answer.opening) == "#" and mask.all()
  for row in range(4):
    key = lookup.KEYS[int(problems.metadata["answers"][row])]
    assert task.vocabulary.decode(tokens[row]) == f"{key}<end>"


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"levels": {"x": {"hops": 0}}}, "task.levels.x.hops: got 0, want a whole number from 1 to 9"),
    ({"levels": {"x": {"keys": 30}}}, "task.levels.x.keys: got 30, want a whole number from 4 to 26"),
    ({"max_turns": 3}, "task.max_turns: got 3, want a whole number from 4 to 1024"),
    ({"guess_rate": 2.0}, "task.guess_rate: got 2.0, want a finite number from 0 to 1"),
    ({"hops": 3}, "task: unknown field 'hops'"),
  ],
)
def test_fields_that_make_no_sense_are_one_line(fields, message):
  with pytest.raises(ValueError, match=message):
    lookup.build(fields)


def test_a_response_of_another_width_is_one_line():
  problem, _, _ = one("one")
  task = built()[0]
  with pytest.raises(ValueError, match="a response of 5 turns has 28 slots, got 6"):
    task.verify(problem, jnp.zeros((1, 6), jnp.int32), jnp.ones((1, 6), bool))
