"""The parts of a reward that a device task names: in every batch, and logged."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.rollouts.flat import flat
from tests.methods.two_iterations import two_iterations
from tests.rollouts.collecting import collected
from tests.rollouts.structures import CASES, GREEDY, GROUP, STRUCTURES, parts, plan_of


def in_parts(task):
  """The task, whose reward has two parts: itself, and the length of the response."""

  def verify(prompts, tokens, mask):
    verdicts = task.verify(prompts, tokens, mask)
    return verdicts.replace(objectives=jnp.stack([verdicts.rewards, mask.sum(axis=1)], axis=1).astype(jnp.float32))

  return dataclasses.replace(task, verify=verify, objectives=("a", "b"))


def of_experiment(experiment):
  return dataclasses.replace(experiment, task=in_parts(experiment.task))


@pytest.mark.parametrize("structure", CASES)
def test_every_verified_row_has_its_own_parts(structure):
  plain, policy = parts()
  task = in_parts(plain)
  rollout = STRUCTURES[structure](task, flat(task, GROUP, GREEDY))
  models, state, found = {"policy": policy}, rollout.init(jax.random.key(0)), []
  run = jax.jit(lambda state, plan, key: collected(rollout, models, state, plan, task, key))
  for number in range(2):
    result = jax.device_get(run(state, plan_of(task, 10 * number), jax.random.key(number)))
    state = result.state
    found.append(result)
  verify = jax.jit(lambda ids, tokens, mask: task.verify(task.prompts(ids, "train"), tokens, mask).objectives)
  for result in found:
    rows = result.trajectories
    responses = slice(rows.prompt_width, None)
    want = verify(rows.prompt_ids, rows.tokens[:, responses], rows.attention_mask[:, responses])
    assert rows.objectives.shape == (len(rows.rewards), 2) and rows.verified.any()
    np.testing.assert_array_equal(rows.objectives, np.where(rows.verified[:, None], want, 0))
    np.testing.assert_array_equal(rows.objectives[:, 0], rows.rewards)
  if structure == "replay":
    assert found[1].metrics["replayed"].value > 0, "rows of the iteration before are among them"
  if structure == "tree":
    assert not rows.verified[rows.row_mask].all(), "inner nodes have none"


@pytest.mark.parametrize("method", ["grpo", pytest.param("dapo", marks=pytest.mark.slow)])
def test_parts_are_logged_by_name(method):
  for metrics in two_iterations(method, change=of_experiment).metrics:
    np.testing.assert_allclose(metrics["part/a"], metrics["reward"], rtol=1e-6)
    np.testing.assert_allclose(metrics["part/b"], metrics["response_length"], rtol=1e-6)
    assert (metrics["part/b"] > 0).all()
