"""Checklists: episodes by hand, the judge's errors, demonstrations, edge cases."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.tasks.environments import checklist
from tests.tasks.environments.episodes import ROWS, padded, spoiled, told


@functools.cache
def built(**fields):
  task = checklist.build(fields)
  return task, jax.jit(task.verify), jax.jit(task.demonstrate)


def problems(task):
  """The letters dbf and ahc in every row."""
  prompts = task.prompts(jnp.arange(ROWS), "train")
  letters = jnp.tile(jnp.array([[[3, 1, 5], [0, 7, 2]]]), (ROWS, 1, 1))
  return prompts.replace(metadata=prompts.metadata | {"letters": letters})


ROUND = ["b.", "d.", "f.", "a."]


def test_episodes_by_hand():
  """An item that is written too early is satisfied when the one before it is."""
  task, verify, _ = built()
  late = ["d.", "b.", "b.", "f."]
  rows = ROUND[:1], ROUND, [*ROUND, "a.", "c.", "h.", "x"], late, ["f.", "d.", "b.", "a."], ["bb", "b.", "d.", "f."]
  rows[2][-1] = "j."
  verdicts = padded(verify, problems(task), task, *rows)
  assert told(task, verdicts)[:3] == [(".", False), ("ahc=", False), ("", True)]
  sixth = 1 / 6
  rewards = np.zeros((6, 8))
  rewards[0, 0] = rewards[1, :3] = rewards[2, [0, 1, 2, 4, 5, 6]] = sixth
  rewards[3, 1:4], rewards[4, 2:4], rewards[5, 1:4] = sixth, sixth, sixth
  np.testing.assert_allclose(verdicts.extras["turn_rewards"], rewards, atol=1e-6)
  np.testing.assert_allclose(verdicts.extras["exact_rewards"], rewards, atol=1e-6)
  assert verdicts.extras["correct"].tolist() == [False, False, True, False, False, False]
  assert verdicts.extras["judge"][3, :4, :3].tolist() == [
    [False, True, False], [True, True, False], [True, True, False], [True, True, True]
  ]  # fmt: skip
  np.testing.assert_array_equal(verdicts.extras["judge"], verdicts.extras["judge_exact"])
  assert verdicts.extras["judge"][2].any(axis=0).all() and not verdicts.extras["judge"][2, :4, 3:].any()
  np.testing.assert_array_equal(verdicts.extras["rounds"][:3], [[0, *[-1] * 7], [0] * 4 + [-1] * 4, [0] * 4 + [1] * 4])


def test_items_depend_on_the_one_before_in_their_round():
  task, _, _ = built()
  extras = padded(built()[1], problems(task), task, ROUND).extras
  np.testing.assert_array_equal(extras["item_rounds"], [[0, 0, 0, 1, 1, 1]])
  np.testing.assert_array_equal(np.argwhere(extras["item_needs"][0]), [[1, 0], [2, 1], [4, 3], [5, 4]])
  np.testing.assert_allclose(extras["item_weights"], np.full((1, 6), 1 / 3))


def test_a_strict_checklist_ends_with_a_round_that_is_not_satisfied():
  task, verify, _ = built(strict=True)
  verdicts = padded(verify, problems(task), task, ROUND, ["f.", "d.", "b.", "a."], ROUND[:3])
  assert verdicts.extras["done"].tolist() == [False, True, False]


def test_a_lure_writes_the_letters_as_they_were_asked():
  task, verify, demonstrate = built(lure_rate=1.0, error_rate=0.0)
  prompts = task.prompts(jnp.arange(200), "train")
  tokens, mask = demonstrate(jax.random.key(0), prompts)
  written = np.asarray(tokens)[:, task.turns.slots[:3, 0]] - task.vocabulary.encode("a")[0]
  np.testing.assert_array_equal(written, prompts.metadata["letters"][:, 0])
  assert 0.25 < verify(prompts, tokens, mask).extras["correct"].mean() < 0.65


def test_a_label_is_wrong_with_its_chance_and_one_text_has_one_judgement():
  task, verify, demonstrate = built(flip_rate=0.2)
  prompts = task.prompts(jnp.arange(400), "train")
  tokens, mask = demonstrate(jax.random.key(0), prompts)
  extras = jax.device_get(verify(prompts, tokens, mask)).extras
  wrong = np.where(np.arange(8)[:, None] < 4, *np.split(extras["judge"] != extras["judge_exact"], 2, axis=2))
  np.testing.assert_allclose(wrong.mean(axis=(0, 1)), [0.2] * 3, atol=0.03)
  assert np.abs(extras["turn_rewards"].sum(axis=1) - extras["exact_rewards"].sum(axis=1)).mean() > 0.05
  start = task.turns.start(3)
  before = verify(prompts, tokens, mask & (np.arange(mask.shape[1]) < start))
  np.testing.assert_array_equal(before.extras["judge"][:, :3], extras["judge"][:, :3], err_msg="as when it was asked")
  same = jax.tree.map(lambda x: jnp.repeat(x[:1], 400, axis=0), prompts)
  others = verify(same, tokens, mask).extras
  first = (others["judge"] != others["judge_exact"])[:, 0]
  said = np.asarray(tokens)[:, 0]
  for letter in np.unique(said):
    assert len(np.unique(first[said == letter], axis=0)) == 1, "equal texts"


def test_letters_of_a_round_differ_and_demonstrations_know_them():
  task, verify, _ = built()
  prompts = jax.device_get(task.prompts(jnp.arange(400), "train"))
  letters = prompts.metadata["letters"]
  assert (np.diff(np.sort(letters, axis=2), axis=2) > 0).all() and letters.min() == 0 and letters.max() == 9
  tokens, mask = built(error_rate=0.0)[2](jax.random.key(0), prompts)
  verdicts = verify(prompts, tokens, mask)
  assert verdicts.extras["done"].all() and verdicts.extras["correct"].all()
  garbage = verify(prompts, *spoiled(task, tokens, mask, np.random.default_rng(0)))
  assert np.isfinite(garbage.rewards).all() and 0.05 < garbage.extras["correct"].mean() < 0.8


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"letters": 3}, "task.letters: got 3, want a whole number from 4 to 10"),
    ({"steps": 2}, "task.steps: got 2, want a whole number from 3 to 64"),
    ({"flip_rate": 0.7}, "task.flip_rate: got 0.7, want a finite number from 0 to 0.5"),
    ({"items": 3}, "task: unknown field 'items'"),
  ],
)
def test_fields_that_make_no_sense_are_one_line(fields, message):
  with pytest.raises(ValueError, match=message):
    checklist.build(fields)
