"""Value pretraining: Monte Carlo targets, a policy that stays, and a critic that another method takes over."""

from __future__ import annotations

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.methods import value_pretraining
from rl_jax.methods.method import ModelRole
from tests.methods.batches import batch_of, config_of
from tests.methods.two_iterations import two_iterations

TASK: Any = types.SimpleNamespace(prompt_tokens=1, response_tokens=4, turns=None, step_values=None)

MASK = np.array([[0, 1, 1, 1], [0, 1, 1, 0], [0, 1, 1, 1]], bool)
VALUES = np.array([[9, 0.5, 0.5, 1.0], [9, 0.25, 0.25, 9], [9, 1, 1, 1]], np.float32)


def rows():
  """Two scored rows, and one without a verdict."""
  known = [True, True, False]
  return batch_of(MASK, rewards=[1.0, 0.0, np.nan], reward_mask=known, extras={"values": VALUES})


def test_targets_are_returns_of_scored_answers():
  streams, metrics = value_pretraining.build(config_of("value_pretraining"), TASK).signal(rows(), jnp.int32(0))
  np.testing.assert_array_equal(streams["value"].weights, MASK & np.array([[1], [1], [0]], bool))
  np.testing.assert_allclose(streams["value"].targets, [[0, 1, 1, 1], [0] * 4, [0] * 4])
  np.testing.assert_allclose(metrics["value_error"].value, (0.25 + 0.25 + 0 + 2 * 0.0625) / 5, rtol=1e-6)
  discounted = value_pretraining.build(config_of("value_pretraining", discount=0.5), TASK)
  np.testing.assert_allclose(discounted.signal(rows(), jnp.int32(0)).streams["value"].targets[0], [0, 0.25, 0.5, 1])


def test_the_loss_is_half_the_squared_error_of_the_critic_alone():
  method = value_pretraining.build(config_of("value_pretraining"), TASK)
  loss = method.loss({"critic": {"values": VALUES + 1}}, rows(), method.signal(rows(), jnp.int32(0)).streams)
  errors = np.array([0.5, 0.5, 1.0, 1.25, 1.25])
  assert set(loss.terms) == {"value"} and not loss.metrics
  np.testing.assert_allclose(loss.terms["value"].mean.value, np.mean(errors**2) / 2, rtol=1e-6)
  assert method.models["policy"] == ModelRole(trained=False) and method.models["critic"].init_from == "policy"


def test_two_iterations_move_the_critic_and_leave_the_policy():
  done = two_iterations("value_pretraining", of="no_reward")
  before, after = done.before.seeds.models, jax.device_get(done.trainer.state.seeds.models)
  jax.tree.map(np.testing.assert_array_equal, after["policy"].params, before["policy"].params)
  moved = jax.tree.map(lambda a, b: np.abs(a - b).max() > 0, after["critic"].params, before["critic"].params)
  assert all(jax.tree.leaves(moved))
  assert (np.abs(done.metrics[-1]["value_correlation"]) <= 1).all()
