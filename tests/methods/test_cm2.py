"""CM2: the spec's worked example, two turns of a dialogue, demonstrations with a judge that errs, and an iteration."""

from __future__ import annotations

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.methods import cm2, grpo
from rl_jax.methods._checklists import LEVELS
from rl_jax.methods.method import ModelRole, check_options
from rl_jax.rollouts.turns import in_turns
from rl_jax.tasks.environments import checklist
from rl_jax.tasks.task import Turns
from tests.methods.batches import batch_of, config_of
from tests.training import every_method

LAYOUT = Turns(max_turns=3, turn_tokens=2, observation_tokens=1)
TASK = types.SimpleNamespace(response_tokens=8, turns=LAYOUT, provides={})
RNG = np.random.default_rng(0)


def batch(judge, rounds, needs, item_rounds, weights, **fields):
  """One group of rows, whose judgements are of the steps that they have; each step is two tokens."""
  steps = np.array([len(row) for row in judge])
  garbage = lambda row: [*row, *[[1, 1]] * (3 - len(row))]
  mask = ~LAYOUT.observed & (LAYOUT.turn_ids < steps[:, None])
  tile = lambda x: np.tile(x, (4, *[1] * np.ndim(x)))
  extras = {
    "judge": np.array([garbage(row) for row in judge], bool), "item_needs": tile(np.array(needs, bool)),
    "rounds": np.where(np.arange(3) < steps[:, None], rounds, -1), "item_rounds": tile(np.array(item_rounds)),
    "item_weights": tile(np.float32(weights)),
  }  # fmt: skip
  values = {"turn_ids": tile(LAYOUT.turn_ids), "group_ids": np.full(4, 7), "extras": extras}
  return batch_of(mask, **values | fields)


def example(**fields):
  """The spec's: one turn of the dialogue, two items, the second of which depends on the first."""
  judge = [[[1, 0], [1, 0], [1, 1]], [[0, 0], [1, 0]], [[0, 1], [1, 0]], [[0, 0]]]
  return batch(judge, [0, 0, 0], [[0, 0], [1, 0]], [0, 0], [0.4, 0.6], **fields)


def built(task=TASK, **options):
  return cm2.build(config_of(cm2, **options), task)


@functools.cache
def compiled(of_demonstrations: bool, **options):
  return jax.jit(built(demonstrated()[0] if of_demonstrations else TASK, **options).signal)


def signal_of(trajectories, *, of_demonstrations=False, **options):
  return compiled(of_demonstrations, **options)(trajectories, jnp.int32(0))


def of_steps(trajectories, layout=LAYOUT, **options):
  """Advantages of the steps, by their first token."""
  return np.asarray(signal_of(trajectories, **options).streams["policy"].targets)[:, layout.slots[:, 0]]


TAKEN = np.arange(3) < np.array([3, 2, 2, 1])[:, None]

# Hand-computed.


@pytest.mark.parametrize(
  ("options", "wanted"),
  [
    ({"level": "trajectory"}, [[0.55], [-0.05], [-0.05], [-0.45]]),
    ({"scale": "group"}, [[1.333942702], [-0.121267518], [-0.121267518], [-1.091407666]]),
    ({"level": "turn"}, [[0.55], [-0.05], [-0.05], [-0.45]]),
    ({"level": "step"}, [[0.25, 0.75, 0.75], [0.25] * 3, [0.25] * 3, [-0.75] * 3]),
    # In the first row alone the second item was ever open: it has nobody to be compared with.
    ({"level": "step", "baseline": "attempted"}, [[0.25, 0, 0], [0.25] * 3, [0.25] * 3, [-0.75] * 3]),
  ],
)
def test_the_worked_example_of_the_spec(options, wanted):
  np.testing.assert_allclose(of_steps(example(), **options), np.where(TAKEN, wanted, 0), atol=1e-6)
  stream = signal_of(example(), **options).streams["policy"]
  np.testing.assert_array_equal(stream.weights, example().loss_mask)
  np.testing.assert_array_equal(stream.targets[:, 0::3], stream.targets[:, 1::3])


def test_metrics_by_hand():
  metrics = signal_of(example(), level="step").metrics
  np.testing.assert_allclose(metrics["advantage_size"].value, (0.25 + 0.75 * 2 + 0.25 * 4 + 0.75) / 8, rtol=1e-6)
  assert metrics["zero_advantage"].value == 0 and "exact_reward" not in metrics


@pytest.mark.parametrize(
  ("level", "wanted"),
  [
    ("trajectory", [[0.5, 0.5, 0.5], [-0.5, 0, 0], [0, 0, 0]]),
    ("turn", [[1 / 3, 0.5, 0.5], [-2 / 3, 0, 0], [1 / 3, -0.5, -0.5]]),
    ("step", [[1 / 3, 2 / 3, 0], [-2 / 3, 0, 0], [1 / 3, -1 / 3, -1 / 3]]),
  ],
)
def test_two_turns_of_a_dialogue_by_hand(level, wanted):
  """An item in each. The second row stops after the first turn; in the first row nothing is open before the last step.
  The last row is not in use."""
  judge = [[[1, 0], [0, 1], [0, 0]], [[0, 0]], [[1, 0], [0, 0], [0, 0]], [[1, 1]]]
  rows = batch(judge, [0, 1, 1], np.zeros((2, 2)), [0, 1], [1, 1], row_mask=np.arange(4) < 3)
  np.testing.assert_allclose(of_steps(rows, level=level), [*wanted, [0, 0, 0]], atol=1e-6)


def test_the_loss_is_reinforce_with_a_penalty_where_all_ratios_are_1():
  """Against a loop in float64."""
  method = built(kl_coefficient=0.5)
  logprobs = jnp.asarray(RNG.normal(size=(4, 8)), jnp.float32)
  rows = example(old_logprobs=logprobs, ref_logprobs=logprobs)
  streams = signal_of(rows, level="trajectory").streams

  @jax.jit
  def total(logprobs):
    outputs = {"policy": {"logprobs": logprobs, "entropies": jnp.ones((4, 8))}}
    terms = method.loss(outputs, rows, streams).terms
    return sum(term.coefficient * term.mean.value for term in terms.values())

  mask, wanted = np.asarray(rows.loss_mask), np.zeros((4, 8))
  for row, slot in np.argwhere(mask):
    wanted[row, slot] = -[0.55, -0.05, -0.05, -0.45][row] / mask.sum()
  np.testing.assert_allclose(jax.grad(total)(logprobs), wanted, atol=1e-7)
  assert method.models["reference"] == ModelRole(trained=False, init_from="policy")


# On demonstrations of the task.

GROUP, NOISE, DRAWS = 8, 0.15, 6


@functools.cache
def demonstrated():
  """(task, rows of 16 problems, eight demonstrations of each)."""
  task = checklist.build({"error_rate": 0.3})

  @jax.jit
  def played(key):
    prompts = task.prompts(jnp.repeat(jnp.arange(16), GROUP), "train")
    tokens, mask = task.demonstrate(key, prompts)
    return prompts.ids, tokens, mask, task.verify(prompts, tokens, mask)

  ids, tokens, mask, verdicts = jax.device_get(played(jax.random.key(0)))
  rows = batch_of(mask, tokens=tokens, rewards=verdicts.rewards, group_ids=ids, extras=verdicts.extras)
  return task, in_turns(rows.replace(attention_mask=jnp.asarray(mask)), task.turns)


def judged(level, judge=None):
  """Advantages of the steps of demonstrations by other judgements."""
  task, rows = demonstrated()
  rows = rows if judge is None else rows.with_extras(judge=jnp.asarray(judge))
  return of_steps(rows, task.turns, of_demonstrations=True, level=level)


def test_errors_of_the_judge_move_steps_more_than_turns_and_turns_more_than_trajectories():
  """Also in relation to what the advantages without errors differ by."""
  exact = np.asarray(demonstrated()[1].extras["judge"])
  rng = np.random.default_rng(1)
  judges = [exact ^ (rng.random(exact.shape) < NOISE) for _ in range(DRAWS)]
  noise, ratio = {}, {}
  for level in LEVELS:
    noise[level] = np.stack([judged(level, judge) for judge in judges]).var(axis=0).mean()
    ratio[level] = noise[level] / judged(level).var()
  assert noise["step"] > 1.5 * noise["turn"] and noise["turn"] > 1.5 * noise["trajectory"], noise
  assert ratio["step"] > ratio["trajectory"], ratio


def test_assigned_to_trajectories_it_is_grpo_on_the_task_s_reward_without_the_std():
  task, rows = demonstrated()
  same = jax.jit(grpo.build(config_of(grpo, scale="none"), task).signal)(rows, jnp.int32(0)).streams["policy"].targets
  found = signal_of(rows, of_demonstrations=True, level="trajectory")
  np.testing.assert_allclose(found.streams["policy"].targets, same, atol=1e-6)
  np.testing.assert_allclose(found.metrics["exact_reward"].value, rows.rewards.mean(), rtol=1e-5)
  assert np.abs(same).max() > 0.3


def test_rows_may_be_shuffled():
  order = np.array([2, 3, 0, 1])
  for level in LEVELS:
    found = of_steps(example().rows(order), level=level)
    np.testing.assert_allclose(found, of_steps(example(), level=level)[order], atol=1e-6)


# Edge cases.


@pytest.mark.parametrize("level", LEVELS)
def test_unscored_rows_count_for_nothing(level):
  scored = jnp.arange(4) != 1
  streams, metrics = signal_of(example(reward_mask=scored), level=level)
  alone, of_alone = signal_of(example(row_mask=scored), level=level)
  np.testing.assert_array_equal(streams["policy"].targets, alone["policy"].targets)
  assert not streams["policy"].weights[1].any() and streams["policy"].targets.any()
  assert jax.tree.map(float, metrics) == jax.tree.map(float, of_alone)


def test_turns_that_few_rows_reached_have_no_advantage():
  assert not of_steps(example(), level="turn", min_count=4).any()


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"level": "token"}, "method.level is one of trajectory, turn, step, got 'token'"),
    ({"scale": "batch"}, "method.scale is one of none, group, got 'batch'"),
    ({"baseline": "valid"}, "method.baseline is one of all, attempted, got 'valid'"),
  ],
)
def test_options_that_are_not_known_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    built(**options)


def test_a_task_without_turns_is_one_line():
  with pytest.raises(ValueError, match="this task has no turns"):
    built(types.SimpleNamespace(response_tokens=4, turns=None))


@pytest.mark.parametrize(("option", "value"), [("min_count", -1), ("epsilon", -1.0)])
def test_numbers_out_of_range_are_refused(option, value):
  with pytest.raises(UserError, match=f"method.{option}: want"):
    check_options(config_of(cm2, **{option: value}), cm2)


# Through the trainer.


@pytest.mark.slow
def test_an_iteration_assigned_to_steps():
  config = every_method.config_of("cm2", "method.level=step", "num_iterations=1")
  (metrics,) = every_method.trainer_of(every_method.built(config)).advance().metrics
  assert (metrics["gradient_norm"] > 0).all() and (metrics["zero_advantage"] < 1).all()
  assert (metrics["exact_reward"] < metrics["advantage_size"]).all(), "an untrained policy lives on errors of the judge"
