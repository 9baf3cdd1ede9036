"""Turns with plans, in the rooms: episodes by hand, demonstrations, and the environment's own values."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.tasks.environments import rooms
from tests.tasks.environments.episodes import ROWS, padded, spoiled, told
from tests.tasks.environments.test_rooms import problem

MANY = 512
SIZES = {"max_turns": 4, "key_reward": 0.25}


@functools.cache
def built(**fields):
  task = rooms.build(SIZES | fields)
  jitted = {name: jax.jit(getattr(task, name)) for name in ("verify", "demonstrate", "step_values")}
  return task, jax.jit(task.prompts, static_argnums=1), jitted


def verdicts_of(*rows, **fields):
  task, _, jitted = built(plans=True, **fields)
  found = padded(jitted["verify"], problem(task, "bc1g=", ROWS), task, *rows)
  return told(task, found), found


# Hand-computed, in the map of rooms.py.


def test_an_episode_by_hand():
  """The plan changes nothing: the second sub-goal is a wrong one, and the third turn names another while it keeps."""
  rows = ["*cW.", "-cS.", "*hE.", "-gE."], ["*cW.", "-cS.", "*hE."]
  over, verdicts = verdicts_of(*rows)
  assert over == [("", True), ("d1", False)]
  np.testing.assert_allclose(verdicts.rewards, [1, 0.25])
  extras = verdicts.extras
  assert extras["switches"].tolist() == [[1, 0, 1, 0], [1, 0, 1, -1]]
  assert extras["subgoal_ids"].tolist() == [[2, 2, 7, 6], [2, 2, 7, -1]]
  for name in ("switch_tokens", "subgoal_tokens"):
    assert extras[name].tolist() == [[1, 1, 1, 1], [1, 1, 1, -1]]
  assert extras["state_ids"].tolist()[0] == [1, 0, 8 + 2, 8 + 3, 8 + 6]
  assert extras["subgoals"].tolist()[0] == [0, 0, 1, 1]


@pytest.mark.parametrize("turn", ["W.", "*W.", "cW.", "*2W.", "=cW.", "*", "*c", "*c.", "*cWW.", "-c1."])
def test_a_turn_without_a_plan_or_a_step_ends_the_episode(turn):
  over, verdicts = verdicts_of(["*cW.", turn], ["*cW.", turn, "-cS.", "-cE."])
  assert over[0][1] and (verdicts.rewards == 0).all()
  is_plan = len(turn) > 2 and turn[0] in "*-" and turn[1] == "c"  # and no step after it
  plan = (int(turn[0] == "*"), 2, 1) if is_plan or turn == "*c" else (0, -1, 0)
  assert tuple(verdicts.extras[name][0, 1] for name in ("switches", "subgoal_ids", "switch_tokens")) == plan


# Demonstrations.


def played(**fields):
  task, prompts, jitted = built(plans=True, **fields)
  problems = prompts(jnp.arange(MANY), "train")
  tokens, mask = jitted["demonstrate"](jax.random.key(0), problems)
  return task, jitted, problems, tokens, mask, jax.device_get(jitted["verify"](problems, tokens, mask))


def test_demonstrations_name_the_key_then_the_goal_and_go_there():
  _, _, problems, _, _, verdicts = played(max_turns=8, stray_rate=0.0, plan_error_rate=0.0)
  assert verdicts.extras["correct"].all()
  exists, keys = verdicts.extras["switches"] >= 0, verdicts.extras["subgoals"]
  metadata = jax.device_get(problems.metadata)
  sought = np.where(keys == 0, metadata["keys"], metadata["goals"][:, None])
  np.testing.assert_array_equal(verdicts.extras["subgoal_ids"][exists], sought[exists])
  first_of_key = np.diff(keys, axis=1, prepend=-1) > 0
  np.testing.assert_array_equal(verdicts.extras["switches"][exists] == 1, first_of_key[exists])


def test_plans_that_err_are_kept_or_changed_and_obeyed():
  """All plans err: half of the turns after the first switch, to any of eight cells; few episodes arrive."""
  *_, verdicts = played(max_turns=8, stray_rate=0.0, plan_error_rate=1.0)
  switches, subgoals = verdicts.extras["switches"], verdicts.extras["subgoal_ids"]
  assert (switches[:, 0] == 1).all() and 0.45 < switches[:, 1:][switches[:, 1:] >= 0].mean() < 0.55
  np.testing.assert_allclose(np.bincount(subgoals[:, 0], minlength=8) / MANY, 1 / 8, atol=0.06)
  kept = switches[:, 1:] == 0
  np.testing.assert_array_equal(subgoals[:, 1:][kept], subgoals[:, :-1][kept])
  assert 0.2 < verdicts.extras["correct"].mean() < 0.6


# Values.


def test_values_are_those_of_the_turns_without_their_plans():
  _, jitted, problems, tokens, mask, _ = played(plan_error_rate=1.0)
  plain, _, of_plain = built()
  finished = jnp.ones(MANY, bool)
  found = jitted["step_values"](problems, tokens, mask, finished)
  planned = rooms.build(SIZES | {"plans": True}).turns.slots
  bare = np.full((MANY, plain.response_tokens), 7, np.int32), np.zeros((MANY, plain.response_tokens), bool)
  for own, whole in zip(bare, (tokens, mask), strict=True):
    own[:, plain.turns.slots] = np.asarray(whole)[:, planned[:, 2:]]
  expected = of_plain["step_values"](problems, *bare, finished)
  for values, own in zip(found, expected, strict=True):
    np.testing.assert_allclose(
      np.asarray(values)[:, planned[:, 0]], np.asarray(own)[:, plain.turns.slots[:, 0]], atol=1e-6
    )


def test_garbage_ends_an_episode_or_is_read():
  task, jitted, problems, tokens, mask, _ = played(plan_error_rate=1.0)
  tokens, mask = spoiled(task, tokens, mask, np.random.default_rng(0))
  verdicts = jax.device_get(jitted["verify"](problems, tokens, mask))
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(verdicts))
  assert verdicts.extras["subgoal_ids"].max() < 8 and set(np.unique(verdicts.extras["switches"])) == {-1, 0, 1}
