"""Credit against the truth: steps and metrics by hand, a method whose credit is the truth, what cannot be compared."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Signal, Stream
from rl_jax.rollouts.branches import Boundaries, branches
from rl_jax.rollouts.flat import flat
from rl_jax.rollouts.sampler import Sampling
from rl_jax.tasks.task import Turns
from rl_jax.training import credit, mesh, state
from rl_jax.training.host_loop import HostLoop
from tests.methods.batches import batch_of
from tests.training import small

PROMPT_TOKENS, SAMPLES = 2, 96


def test_steps_by_hand():
  """Row 0 is whole. Row 1 goes on after its slot 4, and its first two tokens belong to what came before. Row 2 has no
  step, row 3 is not used."""
  responses = [[0, 0, 1, 1, 2], [0, 1, 1, 3, -1], [-1] * 5, [0, 1, 2, 3, 4]]
  policy = np.array([[1, 1, 1, 1, 1], [0, 0, 1, 1, 0], [1, 1, 0, 0, 0], [1] * 5], bool)
  held = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1] * 5], bool)
  prompts = lambda x, fill: np.concatenate([np.full((4, PROMPT_TOKENS), fill), x], axis=1)
  rows = batch_of(
    prompts(policy, False), prompt_width=PROMPT_TOKENS, attention_mask=prompts(held, True),
    step_ids=prompts(responses, -1), row_mask=np.array([True, True, True, False]),
    unfinished=np.array([False, True, False, False]),
  )  # fmt: skip
  targets = prompts([[1, 3, 5, np.nan, 7], [9, 9, 2, 4, 9], [9] * 5, [9] * 5], np.nan)
  weights = prompts([[1, 1, 0.5, 0, 0], [1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1] * 5], 0)
  found = credit.steps_of(rows, Stream(jnp.asarray(targets), jnp.asarray(weights)))
  assert [row[there].tolist() for row, there in zip(*map(np.asarray, found.boundaries), strict=True)] == [
    [0, 2, 4], [2, 3, 4], [], []
  ]  # fmt: skip
  np.testing.assert_array_equal(found.mask[:, :3], [[1, 1, 1], [1, 1, 0], [0, 0, 0], [0, 0, 0]])
  np.testing.assert_array_equal(found.trained[:, :3], [[1, 1, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0]])
  np.testing.assert_allclose(np.where(found.mask, found.credit, 0)[:2, :3], [[2, 5, 0], [2, 4, 0]])


def test_one_number_for_an_answer_by_hand():
  """The credit of group methods: two answers of two steps, 1 and -1, where one step of each made the difference."""
  values = jnp.array([[1.0, 1.0], [-1.0, -1.0]])
  ones = jnp.ones((2, 2), bool)
  steps = credit.Steps(Boundaries(jnp.zeros((2, 3), int), jnp.ones((2, 3), bool)), values, ones, ones)
  found = credit.agreement(steps, jnp.array([[0.5, 0.0], [0.0, -0.5]]), jnp.full((2, 2), 0.1))
  # cos = (0.5 + 0.5) / (2 sqrt(0.5)); ranks 3.5 3.5 1.5 1.5 and 4 2.5 2.5 1; two steps are above the noise.
  expected = {
    "unexplained": 0.5, "noise_floor": 0.04 / 0.5, "rank_correlation": 3 / np.sqrt(4 * 4.5),
    "sign_agreement": 1, "steps": 4, "trained_steps": 1,
  }  # fmt: skip
  assert found.keys() == {f"credit/{name}" for name in expected}
  for name, value in expected.items():
    np.testing.assert_allclose(found[f"credit/{name}"], value, rtol=1e-5, err_msg=name)


def step_starts(trajectories):
  """Where the steps of a response begin, by a loop over them."""
  width = trajectories.step_ids.shape[1]
  at = lambda step: (trajectories.step_ids == step) & trajectories.trained
  slots = jnp.stack([jnp.argmax(at(s), axis=1) for s in range(width)], axis=1)
  return slots, jnp.stack([at(s).any(axis=1) for s in range(width)], axis=1)


def truthful(experiment):
  """A method whose credit is the truth, as far as completions of its own can tell; the reward is a sum over tokens, in
  which early ones weigh more, so that what is still to come is little noise."""
  task = experiment.task
  width = task.response_tokens

  def verify(prompts, tokens, mask):
    rewards = jnp.sum(mask * (tokens % 5) * 0.5 ** jnp.arange(width), axis=1) / 8
    return experiment.task.verify(prompts, tokens, mask).replace(rewards=rewards)

  def boundaries(trajectories):
    slots, exists = step_starts(trajectories)
    return Boundaries((slots - trajectories.prompt_width)[:, :width], exists[:, :width])

  def signal(trajectories, iteration):
    values, exists = trajectories.extras["cut_values"], trajectories.extras["cut_mask"]
    after = jnp.pad(values[:, 1:], ((0, 0), (0, 1)))
    last = exists & ~jnp.pad(exists[:, 1:], ((0, 0), (0, 1)))
    gains = jnp.where(last, trajectories.rewards[:, None], after) - values
    tokens = jnp.take_along_axis(gains, jnp.maximum(trajectories.step_ids, 0), axis=1)
    return Signal({"policy": Stream(tokens, trajectories.trained & (trajectories.step_ids >= 0))})

  task = dataclasses.replace(task, verify=verify)
  method = dataclasses.replace(
    experiment.method,
    rollout=branches(task, flat(task, 4, Sampling()), boundaries, SAMPLES, Sampling()),
    signal=signal,
    models={"policy": experiment.method.models["policy"]},
    scoring={},
  )
  models = {"policy": experiment.models["policy"]}
  return dataclasses.replace(experiment, task=task, method=method, models=models)


def test_credit_that_is_the_truth():
  overrides = ("num_seeds=1", "evaluation.credit_prompts=2", f"evaluation.credit_samples={SAMPLES}")
  experiment = truthful(small.make_experiment(*overrides))
  started = jax.jit(lambda: state.init(experiment))()
  found = jax.device_get(jax.jit(lambda s: credit.evaluate(experiment, s))(started))
  assert all(value.shape == (1,) for value in found.values())
  assert found["credit/steps"] > 15 and found["credit/trained_steps"] == 1
  # Both are means of 96: their difference has about a 30th of the variance of the truth.
  assert found["credit/unexplained"] < 0.1 and 0 < found["credit/noise_floor"] < 0.1
  assert found["credit/rank_correlation"] > 0.9 and found["credit/sign_agreement"] > 0.9


@pytest.mark.slow  # tests/rollouts/test_prompt_width.py has the rollouts
def test_credit_does_not_know_how_wide_prompts_are():
  """With the same draws, responses, their steps and the completions from these are the same."""
  experiment = small.make_experiment("num_seeds=1", "evaluation.credit_prompts=2", "evaluation.credit_samples=4")
  width = experiment.task.prompt_tokens + 3
  wider = dataclasses.replace(experiment.method.rollout, prompt_width=width)
  method = dataclasses.replace(experiment.method, rollout=wider)
  started = jax.jit(lambda: state.init(experiment))()
  found = [
    jax.device_get(jax.jit(lambda s, e=each: credit.evaluate(e, s))(started))
    for each in (experiment, dataclasses.replace(experiment, method=method))
  ]
  assert found[0]["credit/steps"] > 15
  small.assert_close(*found, 1e-5)


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    (["evaluation.credit_prompts=3"], r"credit_prompts is 0 to prompts_per_iteration \(2\), got 3"),
    (["evaluation.credit_prompts=1", "evaluation.credit_samples=1"], "credit_samples is at least 2, got 1"),
  ],
)
def test_sizes_that_make_no_sense_are_one_line(overrides, message):
  experiment = small.make_experiment(*overrides)
  with pytest.raises(UserError, match=message):
    credit.evaluate(experiment, None)


def test_what_has_no_credit_of_steps_is_one_line():
  experiment = small.make_experiment("evaluation.credit_prompts=1")
  turns = dataclasses.replace(experiment.task, turns=Turns(1, 2, 1))
  with pytest.raises(UserError, match="responses of several turns are not completed"):
    credit.evaluate(dataclasses.replace(experiment, task=turns), None)
  of_values = lambda rows, _: Signal({"value": policy_gradient.token_stream(rows, rows.rewards)})
  mute = dataclasses.replace(experiment.method, signal=of_values)
  started = jax.eval_shape(lambda: state.init(experiment))
  with pytest.raises(UserError, match="the signal has no stream 'policy', but value"):
    jax.eval_shape(lambda s: credit.evaluate(dataclasses.replace(experiment, method=mute), s), started)


def test_a_verifier_in_python_has_no_credit():
  experiment = small.make_experiment("num_seeds=1", "evaluation.credit_prompts=1")
  with pytest.raises(UserError, match="only credit of tasks scored on device is compared; set it to 0"):
    HostLoop(experiment, mesh.make_mesh(experiment.config.mesh), None)


def test_nothing_is_compared_unless_it_is_asked_for():
  assert credit.evaluate(small.make_experiment(), None) == {}
