"""Rooms with keys and doors: episodes by hand, values against enumeration, splits, demonstrations, edge cases."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.tasks.environments import rooms
from rl_jax.tasks.task import Prompts
from tests.tasks.environments.episodes import spoiled, told, written

CELLS = rooms.CELLS
FOUR = {"max_turns": 4, "key_reward": 0.25}


@functools.cache
def built(**fields):
  task = rooms.build(fields)
  jitted = {name: jax.jit(getattr(task, name)) for name in ("verify", "demonstrate", "step_values", "prover_values")}
  return task, jax.jit(task.prompts, static_argnums=1), jitted


def problem(task, text, rows=1):
  """`rows` times the problem of a prompt such as "bc1g=", of one door."""
  cell = lambda letter: jnp.full(rows, CELLS.index(letter))
  metadata = {
    "doors": jnp.ones(rows, jnp.int32), "starts": cell(text[0]), "goals": cell(text[3]),
    "keys": cell(text[1])[:, None], "door_rows": jnp.full((rows, 1), int(text[2])),
  }  # fmt: skip
  tokens = jnp.tile(jnp.array(task.vocabulary.encode(text)), (rows, 1))
  return Prompts(tokens, tokens > 0, jnp.zeros(rows, jnp.int32), jnp.zeros(rows, jnp.int32), metadata)


def verdict(text, *turns, **fields):
  task, _, jitted = built(**fields)
  verdicts = jax.device_get(jitted["verify"](problem(task, text), *written(task, turns)))
  return told(task, verdicts)[0], verdicts


# Hand-computed, in the map of the module's docstring.


def test_an_episode_by_hand():
  steps = ["W.", "S.", "E.", "E."]
  for count, seen in enumerate(["a0", "c1", "d1"], start=1):
    assert verdict("bc1g=", *steps[:count])[0] == (seen, False)
  over, verdicts = verdict("bc1g=", *steps)
  extras = verdicts.extras
  assert over == ("", True) and verdicts.rewards == [1] and extras["correct"].all()
  assert extras["turn_rewards"].tolist() == [[0, 0, 0, 1, 0, 0, 0, 0]]
  assert extras["subgoals"].tolist() == [[0, 0, 1, 1, -1, -1, -1, -1]]
  assert extras["state_ids"].tolist() == [[1, 0, 8 + 2, 8 + 3, 8 + 6, -1, -1, -1, -1]]


def test_keys_may_be_worth_something():
  _, verdicts = verdict("bc1g=", "W.", "S.", "E.", "E.", **FOUR)
  np.testing.assert_allclose(verdicts.extras["turn_rewards"], [[0, 0.25, 0, 0.75]])


@pytest.mark.parametrize(
  ("steps", "seen"),
  [
    (["N."], "b0"),  # a wall
    (["E."], "b0"),  # no door in this row
    (["S.", "E."], "d0"),  # it is locked
    (["S.", "W.", "E.", "E."], "g1"),  # it is open
    (["S.", "W.", "E.", "E.", "W."], "d1"),  # and leads back
    (["S.", "W.", "E.", "E.", "E.", "E."], "h1"),  # a wall behind the last room
    (["S.", "W.", "W."], "c1"),  # and before the first
    (["S.", "W.", "E.", "E.", "N.", "W."], "e1"),  # no door in this row, from the other side
  ],
)
def test_walls_and_doors(steps, seen):
  assert verdict("bc1f=", *steps)[0] == (seen, False)


def test_a_goal_in_the_row_behind_the_door_is_no_goal_before_it():
  """Cells of different rooms have different letters: the goal e is not next to the wall's other side."""
  assert verdict("bc0e=", "E.")[0] == ("b0", False)
  assert verdict("bc0e=", "S.", "W.", "N.", "E.", "E.")[1].rewards == [1]


@pytest.mark.parametrize("turn", ["", "N", "NN", "N..", "a.", "1.", "=.", ".N"])
def test_any_other_turn_ends_the_episode(turn):
  over, verdicts = verdict("bc1g=", turn)
  assert over == ("", True) and verdicts.rewards == [0]
  assert verdict("bc1g=", "W.", turn, "S.", "E.", "E.")[1].rewards == [0]


def test_a_policy_that_never_comes_anywhere_is_stopped():
  for count, end in ((7, ("b0", False)), (8, ("", True))):
    assert verdict("bc1g=", *["N."] * count)[0] == end
  ids = verdict("bc1g=", *["N."] * 8)[1].extras["state_ids"]
  assert ids.tolist() == [[1] * 9], "a state that comes again has one name"


# Against enumeration.

MANY = 2000
"""Rows of demonstrations: programs are compiled for one number of rows."""


def moves(text, state):
  """State after each step, for rooms of 2 x 2 cells with one door, by a plain reading of the map."""
  cell, keys = state
  after = []
  for action in rooms.ACTIONS:
    row, column = cell % 4 // 2, cell // 4 * 2 + cell % 2
    to_row = row + {"N": -1, "S": 1}.get(action, 0)
    to_column = column + {"W": -1, "E": 1}.get(action, 0)
    crosses = {column, to_column} == {1, 2}
    stopped = not (0 <= to_row < 2 and 0 <= to_column < 4) or (crosses and not (keys and row == int(text[2])))
    to = cell if stopped else to_column // 2 * 4 + to_row * 2 + to_column % 2
    after.append((to, 1 if CELLS[to] == text[1] else keys))
  return after


def distances(text):
  goal = (CELLS.index(text[3]), 1)
  found, states = {goal: 0}, list(itertools.product(range(8), range(2)))
  for length in range(1, 20):
    near = [s for s in states if s not in found and any(found.get(t) == length - 1 for t in moves(text, s))]
    found |= dict.fromkeys(near, length)
  return found


def kinds(text, state):
  ways = distances(text)
  near = ways.get(state)
  return [
    0 if near is not None and ways.get(after) == near - 1 else 1 if after == state else 2
    for after in moves(text, state)
  ]


def enumerated(text, state, turns, chances):
  """Expected rewards of so many turns, over all sequences of steps. Args: chances: state -> of the steps."""
  goal = CELLS.index(text[3]), 1
  if state == goal or not turns:
    return 0.0
  total = 0.0
  for chance, after in zip(chances(state), moves(text, state), strict=True):
    reward = 0.25 * (after[1] - state[1]) + 0.75 * (after == goal)
    total += chance * (reward + enumerated(text, after, turns - 1, chances))
  return total


EPISODES = (["S.", "W.", "E.", "E."], ["N.", "S.", "W.", "E."], ["S.", "E.", "xx"], ["E.", "W.", "S.", "N."])


def test_values_against_enumeration():
  """Four turns; the policy's chances are counted by kind of step and signature of the state."""
  task, _, jitted = built(**FOUR)
  text, rows = "bc1g=", EPISODES
  tokens, mask = written(task, *rows)
  found = jitted["step_values"](problem(task, text, 4), tokens, mask, jnp.ones(4, bool))
  signature = lambda state: (kinds(text, state).count(0), kinds(text, state).count(1))
  counts, paths = {}, []
  for row in rows:
    state, path = (1, 0), []
    for turn in row:
      path.append(state)
      action = rooms.ACTIONS.find(turn[0]) if turn[1] == "." else -1
      kind = kinds(text, state)[action] if action >= 0 else 3
      counts.setdefault(signature(state), np.zeros(4))[kind] += 1
      state = moves(text, state)[action] if action >= 0 else state
    paths.append([*path, state])

  def chances(state):
    of_state = kinds(text, state)
    weights = counts.get(signature(state))
    if weights is None:
      weights = sum(counts.values()) * [*(k in of_state for k in range(3)), True]
    return [weights[k] / weights.sum() / of_state.count(k) for k in of_state]

  slots = task.turns.slots[:, 0]
  for row, path in enumerate(paths):
    turns = len(rows[row])
    earned = [0.25 * keys for _, keys in path]
    values = [enumerated(text, state, 4 - turn, chances) + earned[turn] for turn, state in enumerate(path)]
    end = 1.0 if row == 0 else earned[-1]
    np.testing.assert_allclose(found.before[row, slots[:turns]], values[:-1], atol=1e-6, err_msg=str(row))
    np.testing.assert_allclose(found.after[row, slots[:turns]], [*values[1:-1], end], atol=1e-6, err_msg=str(row))


@pytest.mark.parametrize("strength", [1.0, 4.0])
def test_values_of_a_prover_against_enumeration(strength):
  task, _, jitted = built(**FOUR)
  text = "bc1g="
  found = jitted["prover_values"](problem(task, text), *written(task, ["S.", "E."]), strength)

  def chances(state):
    weights = np.array([strength if kind == 0 else 1.0 for kind in kinds(text, state)])
    return weights / weights.sum()

  values = [enumerated(text, state, 4 - turn, chances) for turn, state in enumerate([(1, 0), (3, 0), (3, 0)])]
  slots = task.turns.slots[:2, 0]
  np.testing.assert_allclose(found.before[0, slots], values[:2], atol=1e-6)
  np.testing.assert_allclose(found.after[0, slots], values[1:], atol=1e-6)


def test_values_are_the_chances_of_success():
  """Demonstrations are a policy of the kind that values are exact for."""
  task, prompts, jitted = built()
  problems = prompts(jnp.arange(MANY), "train")
  tokens, mask = jitted["demonstrate"](jax.random.key(0), problems)
  rewards = np.asarray(jitted["verify"](problems, tokens, mask).rewards)
  found = jitted["step_values"](problems, tokens, mask, jnp.ones(MANY, bool))
  first = np.asarray(found.before)[:, 0]
  np.testing.assert_allclose(first.mean(), rewards.mean(), atol=0.03)
  for low, high in ((0.0, 0.8), (0.8, 0.9), (0.9, 1.0)):
    there = (low <= first) & (first < high)
    np.testing.assert_allclose(first[there].mean(), rewards[there].mean(), atol=0.05)
  change = np.where(np.asarray(mask) & ~task.turns.observed, np.asarray(found.after) - np.asarray(found.before), 0.0)
  np.testing.assert_allclose(change[:, task.turns.slots[:, 0]].sum(axis=1), rewards - first, atol=1e-5)


# Problems and demonstrations.


def test_problems_are_those_of_their_prompts_and_the_splits_are_disjoint():
  task = rooms.build({"levels": {"one": {"doors": 1}, "two": {"doors": 2}}})
  prompts, seen = jax.jit(task.prompts, static_argnums=1), []
  for split in ("train", "held_out"):
    found = jax.device_get(prompts(jnp.arange(500), split))
    texts = [task.vocabulary.decode(t[m]) for t, m in zip(found.tokens, found.mask, strict=True)]
    for row, text in enumerate(texts):
      doors = found.metadata["doors"][row]
      assert len(text) == 3 + 2 * doors and doors == 1 + found.levels[row]
      of_doors = zip(found.metadata["keys"][row], found.metadata["door_rows"][row], strict=True)
      keys = "".join(f"{CELLS[cell]}{door_row}" for cell, door_row in of_doors if cell >= 0)
      assert text == CELLS[found.metadata["starts"][row]] + keys + CELLS[found.metadata["goals"][row]] + "="
      assert text[0] != text[1] and text[0] in "abcd" and text[-2] in ("efgh" if doors == 1 else "ijkl")
    seen.append(set(texts))
  assert not seen[0] & seen[1] and len(seen[1]) > 40


def test_demonstrations_without_flaws_arrive_and_with_them_sometimes():
  task, prompts, jitted = built()
  problems = prompts(jnp.arange(MANY), "train")
  for demonstrating, low, high in ((built(stray_rate=0.0)[2], 1, 1), (jitted, 0.75, 0.9)):
    tokens, mask = demonstrating["demonstrate"](jax.random.key(0), problems)
    verdicts = jitted["verify"](problems, tokens, mask)
    assert low <= verdicts.rewards.mean() <= high and verdicts.extras["done"].all()
    assert ((verdicts.step_ids >= 0) == (mask & ~task.turns.observed)).all()


def test_garbage_ends_an_episode_or_is_read():
  task, prompts, jitted = built()
  problems = prompts(jnp.arange(MANY), "train")
  tokens, mask = spoiled(task, *jitted["demonstrate"](jax.random.key(1), problems), np.random.default_rng(0))
  verdicts = jax.device_get(jitted["verify"](problems, tokens, mask))
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(verdicts)) and 0.2 < verdicts.rewards.mean() < 0.7
  values = jax.device_get(jitted["step_values"](problems, tokens, mask, np.ones(MANY, bool)))
  assert all((-1e-6 <= x).all() and (x <= 1 + 1e-6).all() for x in values)


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"levels": {"x": {"doors": 0}}}, "task.levels.x.doors: got 0, want a whole number from 1 to 9"),
    ({"levels": {"x": {"doors": 6}}}, "task.levels.x.doors=6 makes 28 cells, more than 26: take fewer doors"),
    ({"width": 1}, "task.width: got 1, want a whole number from 2 to 26"),
    ({"max_turns": 0}, "task.max_turns: got 0, want a whole number from 1 to 1024"),
    ({"key_reward": 2.0}, "task.key_reward: got 2.0, want a finite number from 0 to 1"),
    ({"doors": 3}, "task: unknown field 'doors'"),
  ],
)
def test_fields_that_make_no_sense_are_one_line(fields, message):
  with pytest.raises(ValueError, match=message):
    rooms.build(fields)
