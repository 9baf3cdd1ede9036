"""A user's own task trains without a change to the package: a class that inherits from Task, on device or in Python."""

from __future__ import annotations

import io
import json
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.launching import initialization, launch
from rl_jax.launching.stop import Stop
from rl_jax.tasks.task import Task, missing
from rl_jax.training import iteration, mesh
from rl_jax.training.iteration import Report
from rl_jax.training.seeds import over_seeds
from rl_jax.training.state import RunState
from rl_jax.training.trainer import Trainer
from tests import commands
from tests.tasks import bit_strings
from tests.training import small

FILE = Path(bit_strings.__file__)
SMALL = {
  "num_seeds": 1,
  "num_iterations": 4,
  "prompts_per_iteration": 16,
  "completions_per_prompt": 4,
  "learning_rate": 1e-2,
  "logging.every_iterations": 2,
  "logging.tensorboard": False,
  "logging.report": False,
  "checkpoint.every_iterations": 2,
  "evaluation.every_iterations": 2,
  "evaluation.prompts": 8,
  "evaluation.samples_per_prompt": 8,
  "evaluation.pass_at": (2,),
  "evaluation.greedy": False,
}


def config_of(task, in_python=False, **changes):
  """GRPO on a task, given by name or as an object."""
  plain = configs.resolve("experiments/benchmark.py:smoke").to_dict()
  plain |= {"task": {"name": task} | ({"in_python": True} if in_python else {})}
  return configs.resolve_config(plain, SMALL | changes)


def train(config, folder: Path) -> str:
  """What the launcher says."""
  said = io.StringIO()
  launch.train(config, folder, launch.Terminal(["test"], said, Stop()))
  return said.getvalue()


def rewards(folder: Path) -> list[float]:
  """Held-out rewards in the order of evaluations."""
  rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
  return [row["held_out/reward"][0] for row in rows if row["kind"] == "evaluation"]


def as_object(made: list[Task]):
  """The tasks as an object for a config; each task that is built is noted."""

  def build(config):
    made.append(bit_strings.build(config))
    return made[-1]

  return types.SimpleNamespace(get_config=bit_strings.get_config, build=build)


def test_on_device_it_trains_and_its_reward_rises(tmp_path):
  made: list[Task] = []
  train(config_of(as_object(made), num_iterations=24, **{"evaluation.every_iterations": 12}), tmp_path / "run")
  first, *_, last = rewards(tmp_path / "run")
  assert first < 0.5 and last > 0.75, (first, last)
  assert len(made) == 1 and type(made[0]) is bit_strings.BitStrings
  sample = json.loads((tmp_path / "run" / "samples.jsonl").read_text().splitlines()[-1])
  assert sample["level"] == "four bits" and set(sample["prompt"]) <= set("01") and len(sample["prompt"]) == 4
  shown = json.loads((tmp_path / "run" / "config.json").read_text())
  assert shown["task"]["name"].startswith("tests.test_users_task:as_object") and shown["task"]["in_python"] is False


def test_in_python_it_trains_and_its_reward_rises(tmp_path):
  made: list[Task] = []
  changes = {"num_iterations": 24, "evaluation.every_iterations": 12}
  train(config_of(as_object(made), in_python=True, **changes), tmp_path / "run")
  first, *_, last = rewards(tmp_path / "run")
  assert first < 0.5 and last > 0.75, (first, last)
  (task,) = made
  assert task.verified.count(("train", 64)) == 24 and task.verified.count(("held_out", 64)) == 3
  assert task.closed, "the launcher lets it end what it holds"


@pytest.mark.slow
@pytest.mark.parametrize("in_python", [False, True])
def test_it_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(in_python, tmp_path):
  """Named by the path of its file."""
  for iterations in (2, 4):
    said = train(config_of(str(FILE), in_python=in_python, num_iterations=iterations), tmp_path / "run")
  assert "resuming from iteration 2" in said
  train(config_of(str(FILE), in_python=in_python), tmp_path / "straight")
  commands.assert_same_end(tmp_path / "straight", tmp_path / "run")


OWN = {name: value for name, value in vars(bit_strings.BitStrings).items() if not name.startswith("__")}
"""What the class itself defines."""


def as_task(kind: type):
  return types.SimpleNamespace(get_config=dict, build=lambda config: kind())


@pytest.mark.parametrize("lacking", ["levels", "verify", "vocabulary"])
def test_a_class_that_lacks_something_is_one_line(lacking, tmp_path):
  kind = type("Lacking", (Task,), {name: value for name, value in OWN.items() if name != lacking})
  with pytest.raises(UserError) as refused:
    train(config_of(as_task(kind)), tmp_path / "run")
  line = str(refused.value)
  assert line.endswith(f": Lacking has no {lacking}: inherit from rl_jax.tasks.task.Task, which has most of it")
  assert "\n" not in line


def test_one_that_inherits_nothing_is_told_all_that_it_lacks(tmp_path):
  kind = type("Bare", (), OWN)
  with pytest.raises(
    UserError, match="Bare has no aspects, blank_token, close, demonstrate, fingerprint, .*: inherit from rl_jax"
  ) as told:
    train(config_of(as_task(kind)), tmp_path / "run")
  assert missing(kind()) and all(name in str(told.value) for name in missing(kind()))


def test_one_that_inherits_has_all():
  assert not missing(bit_strings.BitStrings()) and not missing(bit_strings.BitStringsInPython())


def test_demonstrations_that_it_does_not_have_are_one_line(tmp_path):
  plain = config_of(bit_strings).to_dict() | {"method": {"name": "rl_jax.methods.supervised"}}
  with pytest.raises(UserError, match="this task has no demonstrations"):
    train(configs.resolve_config(plain), tmp_path / "run")


class OneByOne:
  """A user's own loop: each iteration is a call of its own, and all calls are counted."""

  def __init__(self, experiment, device_mesh, shardings):
    self.experiment, self.calls = experiment, dict.fromkeys(("compile", "lower", "iterate", "evaluate"), 0)
    count = experiment.config.num_seeds
    self.step = jax.jit(over_seeds(lambda seed, number: iteration.step(experiment, seed, number), count))

  def compile(self, state):
    self.calls["compile"] += 1

  def lower(self, state):
    self.calls["lower"] += 1
    return {}

  def run(self, state) -> tuple[RunState, Report]:
    reports = []
    for _ in range(self.experiment.config.logging.every_iterations):
      self.calls["iterate"] += 1
      seeds, report = self.step(state.seeds, state.iteration[None])
      state = RunState(state.iteration + 1, seeds)
      reports.append(jax.device_get(report))
    return state, jax.tree.map(lambda *leaves: np.stack(leaves), *reports)

  def evaluate(self, state):
    self.calls["evaluate"] += 1
    return {"held_out/mine": np.ones(1)}


def test_a_loop_of_ones_own_makes_the_iterations():
  experiment = initialization.build(config_of(bit_strings))
  device_mesh = mesh.make_mesh(experiment.config.mesh)
  own, usual = Trainer(experiment, device_mesh, loop=OneByOne), Trainer(experiment, device_mesh)
  own.compile()
  usual.compile()
  results = [[trainer.advance() for _ in range(2)] for trainer in (own, usual)]
  assert own.loop.calls == {"compile": 1, "lower": 0, "iterate": 4, "evaluate": 0}
  assert own.iterations == usual.iterations == 4
  assert own.evaluate().keys() == {"held_out/mine"} and own.loop.calls["evaluate"] == 1
  for here, there in zip(*results, strict=True):
    assert here.samples == there.samples
    small.assert_close(here.metrics, there.metrics, 1e-5)
  small.assert_close(own.state, usual.state, 1e-5)
