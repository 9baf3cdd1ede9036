"""Parameters of eight significant bits: updates and averages add up all the same."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from rl_jax.experiments import common
from rl_jax.kernels.reductions import Mean
from rl_jax.methods.method import Loss, Term
from rl_jax.training.optimizer import averages, make_optimizer, schedule
from rl_jax.training.sizes import Sizes
from rl_jax.training.state import ModelState
from rl_jax.training.update import Objective, make_update

STEPS, DECAY = 200, 0.9


class Points(NamedTuple):
  x: Any


@dataclasses.dataclass(frozen=True)
class Line:
  """y = w x, no more."""

  def outputs(self, params, batch):
    return {"y": params["w"].astype(jnp.float32) * batch.x}

  def trained(self, params):
    return params


def state_after(dtype: str, master_weights: str) -> ModelState:
  section = ConfigDict(common.base().optimizer.to_dict() | {"master_weights": master_weights, "warmup_updates": 0})
  optimizer = make_optimizer(section, schedule(section, 1e-5, STEPS))
  loss = lambda outputs, batch, streams: Loss(
    {"up": Term(Mean(-outputs["policy"]["y"].sum(), jnp.float32(len(batch.x))))}, {}
  )
  params = {"w": jnp.ones(4, dtype)}
  update = make_update(
    Objective({"policy": Line()}, {"policy": optimizer}, loss),
    Sizes(epochs=STEPS, minibatches_per_epoch=1, parameter_average=DECAY),
    group_ids=lambda batch: jnp.zeros(len(batch.x), jnp.int32),
  )
  models = {"policy": ModelState(params, optimizer.init(params), averages(section, params))}
  batch = Points(jnp.ones((2, 4)))
  return jax.jit(update)(models, jnp.int32(0), batch, {}, jax.random.key(0)).models["policy"]


def test_small_steps_add_up_as_in_float32():
  wide, narrow, lost = (
    state_after("float32", "float32"),
    state_after("bfloat16", "float32"),
    state_after("bfloat16", "none"),
  )
  np.testing.assert_allclose(wide.params["w"], 1 + STEPS * 1e-5, rtol=1e-4)
  np.testing.assert_array_equal(narrow.params["w"], wide.params["w"].astype(jnp.bfloat16))
  np.testing.assert_array_equal(lost.params["w"], np.ones(4))  # each step is less than half of a last digit


def test_the_average_is_that_of_float32_and_is_evaluated_in_the_parameters_type():
  wide, narrow = state_after("float32", "float32"), state_after("bfloat16", "float32")
  assert narrow.average["w"].dtype == jnp.float32 and wide.average["w"].dtype == jnp.float32
  np.testing.assert_allclose(narrow.average["w"], wide.average["w"], rtol=1e-6)
  assert 1 < narrow.average["w"][0] < narrow.optimizer.master["w"][0]
  assert narrow.evaluated["w"].dtype == jnp.bfloat16
