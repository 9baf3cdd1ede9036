"""Programs lowered without arrays are those that a run traces, for each kind of task."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import pytest

from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.launching import initialization
from rl_jax.models.model import param_count
from rl_jax.training import iteration, mesh, programs
from rl_jax.training.trainer import Trainer
from tests.training import small

FOLDER = Path(__file__).parent


@pytest.fixture
def host(tmp_path, monkeypatch):
  """An experiment on a task of this folder."""
  monkeypatch.setenv("RL_JAX_CACHE", str(tmp_path / "cache"))
  problems = [{"question": f"{i}+1=", "answer": f"{i + 1}"} for i in range(60)]
  (tmp_path / "sums.jsonl").write_text("".join(json.dumps(problem) + "\n" for problem in problems))

  def make(task: str, **more):
    plain = configs.resolve("experiments/grpo.py:smoke").to_dict()
    plain |= {"task": {"name": str(FOLDER / task), "file": str(tmp_path / "sums.jsonl")} | more, "stages": {}}
    plain["model"] |= {"width": 8, "heads": 1, "head_width": 8, "feed_forward": 8}
    return initialization.build(configs.resolve_config(plain | {"init_from": "", "num_seeds": 1}))

  return make


def one_device(experiment):
  return mesh.make_mesh(experiment.config.mesh, jax.devices()[:1])


def test_the_state_is_that_of_a_run():
  experiment = small.make_experiment()
  assert (
    programs.abstract_state(experiment, one_device(experiment))
    == Trainer(experiment, one_device(experiment)).abstract_state
  )


def test_a_run_of_a_host_task_has_the_same_programs(host, monkeypatch):
  experiment, learn, traced = host("byte_task.py", workers=0), iteration.learn, []
  kinds = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), tree)
  monkeypatch.setattr(iteration, "learn", lambda *arguments: traced.append(kinds(arguments[1:])) or learn(*arguments))
  trainer = Trainer(experiment, one_device(experiment))
  assert list(trainer.loop.lower(trainer.abstract_state)) == ["rollout", "update"]
  trainer.advance()
  assert len(traced) == 2 and traced[0] == traced[1]


def test_each_turn_with_a_tool_is_a_program(host):
  experiment = host("tool_task.py")
  turns = experiment.task.turns.max_turns
  lowered = programs.lower(experiment, one_device(experiment))
  assert list(lowered) == [*(f"rollout {i + 1}" for i in range(turns)), "update"]


def test_both_halves_of_a_device_task():
  """The update gives back the state, donated; the rollout reads parameters and gives back none."""
  experiment = small.make_experiment("num_seeds=2")
  lowered = programs.lower(experiment, one_device(experiment))
  state = programs.abstract_state(experiment, one_device(experiment)).seeds
  curriculum, made = lowered["rollout"].out_info
  assert jax.tree.leaves((curriculum, made.state)) == [] and made.trajectories.tokens.shape[0] == 2
  assert param_count(lowered["update"].out_info[0]) == param_count(state)


def test_rows_that_do_not_divide_are_refused():
  experiment = small.make_experiment("minibatches_per_epoch=3")
  with pytest.raises(UserError, match=r"rows of an iteration \(8\) is not a multiple of minibatches_per_epoch"):
    programs.lower(experiment, one_device(experiment))
