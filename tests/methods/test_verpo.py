"""VeRPO: the spec's worked example, several turns, demonstrations of near-duplicate checks, and an iteration."""

from __future__ import annotations

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.methods import grpo, verpo
from rl_jax.methods.method import check_options
from rl_jax.rollouts.turns import in_turns
from rl_jax.tasks.environments import duplicate_checks
from rl_jax.tasks.task import Turns
from tests.methods.batches import batch_of, config_of
from tests.training import every_method

LAYOUT = Turns(max_turns=2, turn_tokens=2, observation_tokens=1)
TASK = types.SimpleNamespace(response_tokens=5, turns=LAYOUT)
PASSES = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]], bool)
RNG = np.random.default_rng(0)


def batch(passes, turns, **fields):
  """One group of rows with so many turns, whose second slot of a turn is empty in odd rows."""
  passes, turns = np.asarray(passes, bool), np.asarray(turns)
  mask = ~LAYOUT.observed & (LAYOUT.turn_ids < turns[:, None])
  mask[1::2, 1::3] = False
  values = {
    "turn_ids": np.tile(LAYOUT.turn_ids, (len(turns), 1)), "group_ids": np.full(len(turns), 7),
    "extras": {"passes": passes},
  }  # fmt: skip
  return batch_of(mask, **values | fields)


def single():
  """The worked example: one turn, passes of a turn that was not taken are garbage."""
  return batch(np.stack([PASSES, ~PASSES], axis=1), [1, 1, 1, 1])


def built(task=TASK, **options):
  return verpo.build(config_of(verpo, **options), task)


@functools.cache
def compiled(of_demonstrations: bool, **options):
  return jax.jit(built(demonstrated()[0] if of_demonstrations else TASK, **options).signal)


def signal_of(trajectories, *, of_demonstrations=False, **options):
  return compiled(of_demonstrations, **options)(trajectories, jnp.int32(0))


def of_turns(trajectories, **options):
  """Advantages of the turns, by their first token."""
  return np.asarray(signal_of(trajectories, **options).streams["policy"].targets)[:, LAYOUT.slots[:, 0]]


# Hand-computed.


@pytest.mark.parametrize(
  ("weights", "wanted"),
  [
    ("verpo", [0.071851623657, -0.253184253234, -0.037314975608, 0.218647605185]),
    ("pass_rate", [0.1875, -0.0625, -0.0625, -0.0625]),
  ],
)
def test_the_worked_example_of_the_spec(weights, wanted):
  """The row with the rare test is first, and with equal weights among the last."""
  streams, metrics = signal_of(single(), weights=weights)
  mask = single().loss_mask
  np.testing.assert_allclose(streams["policy"].targets, np.where(mask, np.array(wanted)[:, None], 0), atol=1e-6)
  np.testing.assert_array_equal(streams["policy"].weights, mask)
  np.testing.assert_allclose(metrics["pass_rate"].value, 9 / 16)
  assert metrics["full_pass"].value == 0 and metrics["degenerate_rows"].value == 0


def several():
  """Tests in two pairs: passed in the second turn, at once, and never, in two turns; and a row that is not in use."""
  passes = np.repeat([[[1, 0], [1, 1]], [[1, 1], [0, 0]], [[1, 0], [0, 0]], [[1, 1], [1, 1]]], 2, axis=2)
  return batch(passes, [2, 1, 2, 2], row_mask=np.arange(4) < 3)


def test_several_turns_by_hand():
  """Rewards of the five turns by pass rates are 1/2, 1, 1, 1/2, 0; those of full passes 1/4, 1/2, 0."""
  turn = np.array([[0.5, 1], [1, 0], [0.5, 0], [0, 0]]) - 3 / 5
  outcome = np.array([0.25, 0.5, 0, 0]) - 0.25
  wanted = np.where([[1, 1], [1, 0], [1, 1], [0, 0]], outcome[:, None] + 2 * turn, 0)
  options = {"weights": "pass_rate", "beta": 2.0, "gamma": 0.5}
  np.testing.assert_allclose(of_turns(several(), **options), wanted, atol=1e-6)
  np.testing.assert_allclose(signal_of(several(), **options).metrics["full_pass"].value, 2 / 3, rtol=1e-6)
  apart = of_turns(several(), **options, full_pass_reward=0.0, scale="group", epsilon=0.0)
  np.testing.assert_allclose(apart[1, 0], 2 * 0.4 / np.std([0.5, 1, 1, 0.5, 0], ddof=1), rtol=1e-5)


def test_the_gradient_is_that_of_reinforce():
  """Against a loop in float64, where all ratios are 1."""
  rows, method = single(), built()
  logprobs = RNG.normal(size=rows.tokens.shape).astype(np.float32)
  rows = rows.replace(old_logprobs=jnp.asarray(logprobs))
  streams = signal_of(rows).streams

  @jax.jit
  def total(logprobs):
    outputs = {"policy": {"logprobs": logprobs, "entropies": jnp.ones(logprobs.shape)}}
    return method.loss(outputs, rows, streams).terms["policy"].mean.value

  advantages, mask = np.asarray(streams["policy"].targets, np.float64), np.asarray(rows.loss_mask)
  wanted = np.zeros(mask.shape)
  for row, slot in np.argwhere(mask):
    wanted[row, slot] = -advantages[row, slot] / mask.sum()
  np.testing.assert_allclose(jax.grad(total)(jnp.asarray(logprobs)), wanted, atol=1e-7)


# On demonstrations of the task: eight easy checks, two hard ones.

GROUP = 6


@functools.cache
def demonstrated():
  """(task, rows of 40 problems, six demonstrations of each)."""
  task = duplicate_checks.build({"easy_error_rate": 0.2, "hard_error_rate": 0.9})

  @jax.jit
  def played(key):
    prompts = task.prompts(jnp.repeat(jnp.arange(40), GROUP), "train")
    tokens, mask = task.demonstrate(key, prompts)
    return prompts.ids, tokens, mask, task.verify(prompts, tokens, mask)

  ids, tokens, mask, verdicts = jax.device_get(played(jax.random.key(0)))
  rows = batch_of(mask, tokens=tokens, rewards=verdicts.rewards, group_ids=ids, extras=verdicts.extras)
  return task, in_turns(rows.replace(attention_mask=jnp.asarray(mask)), task.turns)


def advantages_and_metrics(**options):
  task, rows = demonstrated()
  streams, metrics = signal_of(rows, of_demonstrations=True, **options)
  first = np.asarray(streams["policy"].targets)[:, task.turns.slots[:, 0]]
  return first, {name: float(mean.value) for name, mean in metrics.items()}


@functools.cache
def by_arm():
  arms = {"verpo": {}, "pass_rate": {"weights": "pass_rate"}, "outcome": {"beta": 0.0, "gamma": 1.0}}
  return {name: advantages_and_metrics(**options) for name, options in arms.items()}


def test_fewer_groups_are_degenerate_than_with_pass_rates_or_the_outcome():
  share = {name: metrics["degenerate_rows"] for name, (_, metrics) in by_arm().items()}
  assert share["verpo"] < share["pass_rate"] + 1e-6 < share["outcome"], share
  assert share["verpo"] < 0.25 < 0.6 < share["outcome"]


def test_its_advantages_follow_hard_checks_and_those_of_pass_rates_follow_easy_ones():
  rows = demonstrated()[1]
  passes, taken = np.asarray(rows.extras["passes"]), np.asarray(rows.loss_mask)[:, demonstrated()[0].turns.slots[:, 0]]
  hard, easy = (passes[..., which].sum(axis=2)[taken] for which in (duplicate_checks.HARD, ~duplicate_checks.HARD))
  follow = lambda name, count: np.corrcoef(by_arm()[name][0][taken], count)[0, 1]
  assert follow("verpo", hard) > 0.7 > 0.4 > follow("verpo", easy)
  assert follow("pass_rate", easy) > 0.7 > 0.4 > follow("pass_rate", hard)


def test_the_outcome_alone_is_grpo_on_the_task_s_reward():
  task, rows = demonstrated()
  same = jax.jit(grpo.build(config_of(grpo, scale="none"), task).signal)(rows, jnp.int32(0)).streams["policy"].targets
  targets = signal_of(rows, of_demonstrations=True, beta=0.0, gamma=1.0).streams["policy"].targets
  np.testing.assert_allclose(targets, same, atol=1e-6)
  assert np.abs(targets).max() > 0.5


def test_rows_may_be_shuffled_and_padded():
  order = np.array([2, 3, 0, 1])
  found = of_turns(several())
  np.testing.assert_allclose(of_turns(several().rows(order)), found[order], atol=1e-6)
  assert found[:3].any(axis=1).all() and not found[3].any()


# Edge cases.


@pytest.mark.parametrize("passes", [np.ones((4, 2, 3)), np.zeros((4, 2, 3))])
def test_groups_that_all_pass_or_all_fail_are_degenerate(passes):
  streams, metrics = signal_of(batch(passes, [1] * 4))
  assert metrics["degenerate_rows"].value == 1 and not streams["policy"].targets.any()


def test_unscored_rows_count_for_nothing():
  scored = np.arange(4) != 3
  streams, metrics = signal_of(single().replace(reward_mask=jnp.asarray(scored)))
  alone, of_alone = signal_of(single().replace(row_mask=jnp.asarray(scored)))
  np.testing.assert_array_equal(streams["policy"].targets, alone["policy"].targets)
  assert not streams["policy"].weights[3].any() and streams["policy"].targets[:3].any()
  assert jax.tree.map(float, metrics) == jax.tree.map(float, of_alone)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"weights": "rare"}, "method.weights is one of verpo, difficulty, density, pass_rate, got 'rare'"),
    ({"scale": "batch"}, "method.scale is one of none, group, got 'batch'"),
  ],
)
def test_options_that_are_not_known_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    built(**options)


def test_a_task_without_turns_is_one_line():
  with pytest.raises(ValueError, match="this task has no turns"):
    built(types.SimpleNamespace(response_tokens=4, turns=None))


@pytest.mark.parametrize(("option", "value"), [("alpha", -1.0), ("sigma", 0.0), ("beta", -0.5), ("gamma", 1.5)])
def test_numbers_out_of_range_are_refused(option, value):
  with pytest.raises(UserError, match=f"method.{option}: want"):
    check_options(config_of(verpo, **{option: value}), verpo)


# Through the trainer.


@pytest.mark.slow
def test_an_iteration_has_a_gradient_where_no_attempt_passes_all():
  config = every_method.config_of("verpo", "num_iterations=1")
  (metrics,) = every_method.trainer_of(every_method.built(config)).advance().metrics
  assert (metrics["gradient_norm"] > 0).all() and (metrics["degenerate_rows"] < 1).all()
  assert (metrics["full_pass"] == 0).all()
