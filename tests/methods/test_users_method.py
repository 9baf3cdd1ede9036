"""A user's own method trains without a change to the package: as a file named by its path, and as an object."""

from __future__ import annotations

import inspect
import json
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.launching import initialization, launch
from rl_jax.methods import dr_grpo, policy_gradient
from rl_jax.training import iteration, state

SOURCE = '''
"""Advantages of the sign of the reward against the mean of the batch, halved after the first iteration."""

import jax.numpy as jnp

from rl_jax.kernels.reductions import masked_mean
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Signal


def get_config():
  return policy_gradient.get_config() | {"strength": 2.0}


def build(config, task):
  def signal(trajectories, iteration):
    mean = masked_mean(trajectories.rewards, trajectories.scored).value
    strength = config.method.strength * jnp.where(iteration > 0, 0.5, 1.0)
    length = trajectories.response_lengths / task.response_tokens
    advantages = strength * (jnp.sign(trajectories.rewards - mean) + length)
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)})

  return policy_gradient.method(config, task, signal, papers=("0000.00000",))
'''
SMALL = {
  "init_from": "",
  "num_iterations": 2,
  "num_seeds": 1,
  "prompts_per_iteration": 2,
  "completions_per_prompt": 2,
  "logging.every_iterations": 1,
  "logging.tensorboard": False,
  "logging.report": False,
  "checkpoint.every_iterations": 2,
  "evaluation.every_iterations": 2,
  "evaluation.prompts": 2,
  "evaluation.samples_per_prompt": 1,
  "evaluation.pass_at": (1,),
  "evaluation.greedy": False,
  "task.levels": {"two": {"operations": 2}},
}


@pytest.fixture
def path(tmp_path):
  file = tmp_path / "elsewhere" / "sign_of_reward.py"
  file.parent.mkdir()
  file.write_text(SOURCE)
  return file


def resolved(method, **changes):
  overrides = [f"{key}={value}" for key, value in SMALL.items()] + [f"{key}={value}" for key, value in changes.items()]
  config = configs.resolve("experiments/benchmark.py:smoke").to_dict()
  config |= {"method": {"name": method}, "task": {"name": "rl_jax.tasks.chain"}}
  return configs.resolve_config(config, dict(o.split("=", 1) for o in overrides))


def test_a_file_named_by_its_path_trains_and_is_recorded(path, tmp_path):
  config = resolved(str(path), **{"method.strength": 3.0})
  assert config.method.strength == 3.0 and config.method.clip == "ppo"
  result = launch.train(config, tmp_path / "run")
  assert result.finished and result.iterations == 2
  rows = [json.loads(line) for file in result.directory.glob("metrics*.jsonl") for line in open(file)]
  assert rows and (result.directory / "method.py").read_text() == SOURCE
  norms = [np.ravel(v)[0] for row in rows for k, v in flat(row) if k.endswith("gradient_norm")]
  assert len(norms) == 2 and min(norms) > 0


def flat(row, prefix=""):
  for key, value in row.items():
    if isinstance(value, dict):
      yield from flat(value, f"{prefix}{key}/")
    else:
      yield f"{prefix}{key}", value


@pytest.mark.slow
def test_an_object_trains_in_place_of_a_name():
  """A notebook passes its own method: anything with get_config and build."""
  module = types.ModuleType("typed_into_a_notebook")
  exec(SOURCE, module.__dict__)
  config = resolved("rl_jax.methods.dr_grpo").to_dict()
  method = types.SimpleNamespace(get_config=module.get_config, build=module.build)
  config |= {"method": {"name": method}, "logging": config["logging"] | {"every_iterations": 2}}
  built = initialization.build(configs.resolve_config(config))
  assert built.method.papers == ("0000.00000",)
  before = state.init(built)
  after, report = jax.jit(lambda s: iteration.run(built, s))(before)
  assert int(after.iteration) == 2 and np.all(report.metrics["gradient_norm"].sum > 0)
  moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), before.seeds.models, after.seeds.models)
  assert all(jax.tree.leaves(moved["policy"].params))


def test_an_object_that_cannot_be_copied_has_stages_like_a_name():
  config = configs.resolve("experiments/dr_grpo.py:smoke")
  by_object = configs.resolve_config(config, {"method.name": dr_grpo})
  name = config.init_from
  assert by_object.method.name is dr_grpo and name in config.stages
  folder = lambda config: initialization.stage_folder(config, name, Path("runs/x"))
  assert folder(by_object) == folder(config)


def test_its_options_are_checked_like_those_of_the_package(path):
  with pytest.raises(UserError, match="unknown config key 'method.strenght': did you mean 'method.strength'"):
    resolved(str(path), **{"method.strenght": 1.0})


def test_it_is_short():
  assert len([line for line in SOURCE.splitlines() if line.strip()]) <= 20
  assert "sign" not in inspect.getsource(policy_gradient).replace("signal", "")
