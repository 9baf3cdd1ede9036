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
  assert verdicts.extras["judge"][3, :4].tolist() == [
    [False, True, False], [True, True, False], [True, True, False], [True, True, True]
  ]  # fmt: skip
  np.testing.assert_array_equal(verdicts.extras["judge"], verdicts.extras["judge_exact"])


def test_a_label_is_wrong_with_its_chance_and_one_text_has_one_judgement():
  task, verify, demonstrate = built(flip_rate=0.2)
  prompts = task.prompts(jnp.arange(400), "train")
  tokens, mask = demonstrate(jax.random.key(0), prompts)
  extras = jax.device_get(verify(prompts, tokens, mask)).extras
  wrong = extras["judge"] != extras["judge_exact"]
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
    ({"steps": 2}, "task.steps: got 2, want a whole number from 3 to 64"),
    ({"flip_rate": 0.7}, "task.flip_rate: got 0.7, want a finite number from 0 to 0.5"),
    ({"items": 3}, "task: unknown field 'items'"),
  ],
)
def test_fields_that_make_no_sense_are_one_line(fields, message):
  with pytest.raises(ValueError, match=message):
    checklist.build(fields)
