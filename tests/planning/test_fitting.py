"""Bytes of a state by hand; what the compiler says of a program that is too large; layouts that are proposed."""

from __future__ import annotations

import types

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from rl_jax.planning import fitting
from rl_jax.planning.chips import CHIPS, GIB
from rl_jax.planning.fitting import Layout, State
from rl_jax.training import mesh, programs
from rl_jax.training.state import ModelState, TrainState
from tests.training import small


def test_bytes_of_a_state_by_hand():
  """Of 8 chips, fsdp 4 x tensor 2, each holds 1/8 of a matrix [16, 8], and its moments twice in half the width."""
  axes = AbstractMesh((4, 2), ("fsdp", "tensor"))
  split = NamedSharding(axes, PartitionSpec(None, "fsdp", "tensor"))
  array = lambda dtype: jax.ShapeDtypeStruct((1, 16, 8), dtype, sharding=split)
  seeds = TrainState(
    root_key=jax.ShapeDtypeStruct((1, 2), jnp.uint32, sharding=NamedSharding(axes, PartitionSpec())),
    models={"policy": ModelState(array(jnp.float32), (array(jnp.bfloat16), array(jnp.bfloat16)))},
    curriculum=(),
    rollout=(),
    generated_tokens=jax.ShapeDtypeStruct((1, 2), jnp.uint32, sharding=NamedSharding(axes, PartitionSpec())),
    skipped_in_a_row=jax.ShapeDtypeStruct((1,), jnp.int32, sharding=NamedSharding(axes, PartitionSpec())),
  )
  assert fitting.state_bytes(seeds) == State(parameters=64, optimizer=64, other=20)


@pytest.mark.parametrize(
  "text, asked",
  [
    ("RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total … for HLO temporaries (23.06G) exceeds …", 23.06),
    ("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 110.5G of 95.74G hbm. Exceeded by 14.8G.", 110.5),
    ("RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Used 512.00M of 15.75G hbm", 0.5),
    ("INTERNAL: Used 5G of something", None),
  ],
)
def test_what_the_compiler_refused(text, asked):
  found = fitting.asked_for(RuntimeError(text))
  assert found == (None if asked is None else pytest.approx(asked * GIB))


def test_the_state_of_an_experiment_is_parameters_and_two_moments():
  experiment = small.make_experiment("num_seeds=2")
  found = fitting.state_bytes(programs.abstract_state(experiment, mesh.make_mesh(experiment.config.mesh)).seeds)
  assert found.parameters < found.optimizer < 2.01 * found.parameters + 1000


def test_the_state_of_bfloat16_parameters_has_master_weights():
  """Per parameter 2 bytes, and 12 of two moments and a master weight."""
  experiment = small.make_experiment("num_seeds=2", "model.param_dtype=bfloat16")
  found = fitting.state_bytes(programs.abstract_state(experiment, mesh.make_mesh(experiment.config.mesh)).seeds)
  assert 6 * found.parameters < found.optimizer < 6.01 * found.parameters + 1000


def test_advice_names_what_is_not_done_yet():
  experiment = small.make_experiment("num_seeds=1")
  of = types.SimpleNamespace(shape={"data": 8, "fsdp": 1, "tensor": 1}, size=8)
  small_state, large = State(GIB, 2 * GIB, 0), State(8 * GIB, 16 * GIB, 0)
  fsdp = Layout({"data": 1, "fsdp": 8, "tensor": 1}, small_state)
  given = "\n".join(fitting.advice(experiment, CHIPS["v5e"], of, large, fsdp, "update"))
  for wanted in ("mesh.fsdp=8", "3.0 instead of 24.0 GiB", "dtype=bfloat16", "remat=block", "rows_per_microbatch=8"):
    assert wanted in given
  assert "topology" not in given and "prompts_per_iteration" not in given
  # 24 GiB on 8 chips go into 60% of 15.75 GiB on 21.
  alone = "\n".join(fitting.advice(experiment, CHIPS["v5e"], of, large, None, "rollout"))
  assert "a topology of 21 chips or more" in alone and "prompts_per_iteration" in alone
