"""Near-duplicate checks: attempts by hand, values, demonstrations, edge cases."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.tasks.environments import duplicate_checks
from tests.tasks.environments.episodes import ROWS, padded, spoiled, told, written


@functools.cache
def built(**fields):
  task = duplicate_checks.build(fields)
  return task, {name: jax.jit(getattr(task, name)) for name in ("verify", "demonstrate", "step_values")}


def problems(task, rows=ROWS):
  """The problem "37=" in every row."""
  prompts = task.prompts(jnp.arange(rows), "train")
  return prompts.replace(metadata={"digits": jnp.tile(jnp.array([3, 7, 4, 6]), (rows, 1))})


def test_attempts_by_hand():
  task, jitted = built()
  rows = ["3746."], ["3796."], ["4740."], ["374."], ["3796.", "3746."], ["3000.", "3796."]
  verdicts = padded(jitted["verify"], problems(task), task, *rows)
  assert told(task, verdicts) == [("", True), ("81", False), ("41", False), ("00", False), ("", True), ("", True)]
  assert verdicts.rewards.tolist() == [1, 0, 0, 0, 1, 0]
  assert verdicts.extras["correct"].tolist() == [True, False, False, False, True, False]
  passes = verdicts.extras["passes"]
  assert passes[1, 0].tolist() == [True] * 8 + [False, True] and passes[2, 0].tolist() == [False] * 4 + [True] * 5 + [
    False
  ]
  assert passes[0, 0].all() and not passes[0, 1].any() and passes[4, 1].all()


def test_values_by_hand():
  """One of four passes at once; of two that go on one passes then, and one is cut."""
  task, jitted = built()
  rows = ["3746."], ["3796.", "3746."], ["3796.", "3796."], ["3796."]
  values = padded(jitted["step_values"], problems(task), task, *rows, extra=[jnp.ones(ROWS, bool)])
  first, second = task.turns.slots[:, 0]
  np.testing.assert_allclose(values.before[:, first], [0.25 + 0.5 * 0.5] * 4)
  np.testing.assert_allclose(values.after[:, first], [1, 0.5, 0.5, 0])
  np.testing.assert_allclose(values.after[:, second], [0, 1, 0, 0])


def test_demonstrations_pass_easy_checks_more_often():
  task, jitted = built()
  prompts = task.prompts(jnp.arange(500), "train")
  digits = np.asarray(prompts.metadata["digits"])
  np.testing.assert_array_equal(digits[:, 2:], (digits[:, :2] + [1, -1]) % 10)
  tokens, mask = jitted["demonstrate"](jax.random.key(0), prompts)
  verdicts = jitted["verify"](prompts, tokens, mask)
  rates = np.asarray(verdicts.extras["passes"][:, 0]).mean(axis=0)
  assert (rates[:8] > 0.75).all() and (rates[8:] < 0.5).all() and 0.1 < verdicts.rewards.mean() < 0.3
  values = jitted["step_values"](prompts, tokens, mask, jnp.ones(500, bool))
  np.testing.assert_allclose(values.before[0, 0], verdicts.rewards.mean(), rtol=1e-5)
  garbage = jitted["verify"](prompts, *spoiled(task, tokens, mask, np.random.default_rng(0)))
  assert np.isfinite(garbage.rewards).all() and garbage.rewards.mean() < verdicts.rewards.mean()


def test_a_lure_repeats_the_digits_of_the_prompt_in_the_hard_checks():
  task = duplicate_checks.build({"lure_rate": 0.8, "hard_error_rate": 0.1, "easy_error_rate": 0.0, "base": 3})
  prompts = task.prompts(jnp.arange(300), "train")
  tokens, _ = jax.jit(task.demonstrate)(jax.random.key(0), prompts)
  of_prompt, written = np.asarray(prompts.tokens)[:, :2], np.asarray(tokens)[:, :4]
  assert set(np.unique(of_prompt)) <= set(task.vocabulary.encode("012"))
  np.testing.assert_array_equal(written[:, :2], of_prompt)
  repeated = (written[:, 2:] == of_prompt).mean(axis=0)
  np.testing.assert_allclose(repeated, [0.9 * 0.8 + 0.1 / 3] * 2, atol=0.07)


def test_one_attempt_is_not_answered():
  task = duplicate_checks.build({"max_turns": 1})
  verdicts = jax.jit(task.verify)(problems(task, 1), *written(task, ["3796."]))
  assert verdicts.extras["done"].all() and not verdicts.extras["observation_mask"].any()


def test_fields_that_make_no_sense_are_one_line():
  with pytest.raises(ValueError, match="task.hard_error_rate: got 2, want a finite number from 0 to 1"):
    duplicate_checks.build({"hard_error_rate": 2})
