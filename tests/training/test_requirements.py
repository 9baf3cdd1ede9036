"""Needs of methods, and the extras that tasks and rollouts declare: their names and forms are those of the arrays."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax import tasks
from rl_jax.configuration import configs, parts
from rl_jax.errors import UserError
from rl_jax.launching import initialization
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Signal
from rl_jax.tasks import chain, hugging_face, json_lines, mixture, reasoning_gym, tool_use
from rl_jax.tasks.environments import host
from rl_jax.tasks.scoring import FAILURES
from rl_jax.training import iteration, state
from rl_jax.training.experiment import ALWAYS
from tests.tasks import bit_strings
from tests.tasks.byte_vocabulary import Bytes
from tests.training import small

FOLDER = Path(__file__).parents[2] / "experiments"
ROWS = 5

HOST = ("json_lines", "hugging_face", "reasoning_gym", "tool_use", "environments.host")
"""Tasks that are scored in Python."""


def device_tasks() -> list[str]:
  """All others of the package: modules with a config and a `build` of that alone."""
  names = [name.removeprefix(f"{tasks.__name__}.") for name in parts.parts_of("task")]
  return [name for name in names if name not in HOST]


DEVICE = device_tasks()


def declared(task) -> dict[str, tuple[tuple[int, ...], str]]:
  """Shape, rows in front, and dtype of each extra that a task declares."""
  turns = task.turns
  slots = {"R": task.response_tokens, "O": turns.observation_tokens if turns else None}
  assert len({ROWS, *slots.values()}) == 3, "a shape says which slots are meant"
  slots |= {"K": turns.max_turns, "S": turns.max_turns + 1} if turns else {}
  return {
    name: ((ROWS, *(slots.get(size, size) for size in one.shape)), one.dtype) for name, one in task.provides.items()
  }


def forms(extras) -> dict[str, tuple[tuple[int, ...], str]]:
  return {name: (x.shape, np.dtype(x.dtype).name) for name, x in extras.items()}


def verdicts_of(task):
  """Shapes and types of a device task's verdicts on responses of any tokens."""

  def verify():
    prompts = task.prompts(jnp.arange(ROWS), "train")
    shape = ROWS, task.response_tokens
    return task.verify(prompts, jnp.zeros(shape, jnp.int32), jnp.ones(shape, bool))

  return jax.eval_shape(verify)


def test_the_tasks_are_found():
  plain = {"chain", "addition", "pairs", "planted", "cipher", "fixed_length", "tastes"}
  environments = {f"environments.{name}" for name in ("rooms", "decisions", "checklist", "duplicate_checks")}
  assert {*plain, *environments, "lookup", "calls", "mixture"} == set(DEVICE)


@pytest.mark.parametrize("name", DEVICE)
def test_verdicts_of_a_device_task_hold_what_it_declares_and_nothing_else(name):
  module = configs.resolve_role(f"rl_jax.tasks.{name}")
  task = module.build(module.get_config())
  assert task.on_device
  assert forms(verdicts_of(task).extras) == declared(task)


def test_those_of_a_users_task_do():
  task = bit_strings.BitStrings()
  assert forms(verdicts_of(task).extras) == declared(task) != {}


@pytest.fixture
def plain_chain(monkeypatch):
  """The chain task without step_values, by a dotted path, and the fields of a mixture with the whole one."""
  whole = chain.build(chain.get_config())

  def verify(prompts, tokens, mask):
    verdicts = whole.verify(prompts, tokens, mask)
    return verdicts.replace(extras={name: x for name, x in verdicts.extras.items() if name != "step_values"})

  less = {name: one for name, one in whole.provides.items() if name != "step_values"}
  module = types.ModuleType("a_users_chain")
  module.get_config = chain.get_config
  module.build = lambda config: dataclasses.replace(whole, verify=verify, provides=less)
  monkeypatch.setitem(sys.modules, module.__name__, module)
  return {"components": {"plain": {"name": module.__name__}, "whole": {"name": chain.__name__}}}


def test_a_mixture_declares_what_all_its_components_do(plain_chain):
  """Rows of a component without an extra have nothing to say in it, so no method may count on it."""
  task = mixture.build(plain_chain)
  there, said = forms(verdicts_of(task).extras), declared(task)
  assert said == {name: form for name, form in there.items() if name != "step_values"}
  assert "step_values" in there


@pytest.fixture
def host_task(tmp_path, monkeypatch):
  """Tasks that are scored in Python by this process, with a vocabulary of bytes, by name."""
  monkeypatch.setenv("RL_JAX_CACHE", str(tmp_path / "cache"))
  problems = [{"question": f"{i}+1=", "answer": f"{i + 1}"} for i in range(40)]
  (tmp_path / "sums").mkdir()
  (tmp_path / "sums" / "train.jsonl").write_text("".join(json.dumps(problem) + "\n" for problem in problems))
  common = {"workers": 0, "answer": "whole"}
  of_file = common | {"file": str(tmp_path / "sums" / "train.jsonl"), "prompt_tokens": 160}
  turns = {"source": "json_lines", "max_turns": 2, "turn_tokens": 24, "observation_tokens": 32}

  def make(name):
    if name == "reasoning_gym":
      pytest.importorskip("reasoning_gym")
      fields = common | {"problems": 24, "prompt_tokens": 600, "response_tokens": 24}
      return reasoning_gym.build(fields, vocabulary=Bytes())
    if name == "hugging_face":
      pytest.importorskip("datasets")
      monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
      of_folder = {"dataset": str(tmp_path / "sums"), "prompt_tokens": 160, "response_tokens": 24}
      return hugging_face.build(common | of_folder, vocabulary=Bytes())
    if name == "tool_use":
      return tool_use.build(of_file | turns, vocabulary=Bytes())
    if name == "environments.host":
      sizes = {"max_turns": 2, "turn_tokens": 24, "observation_tokens": 32, "prompt_tokens": 160}
      environment = "tests.tasks.environments.guessing:Guess"
      return host.build({"environment": environment, "workers": 0, **sizes}, vocabulary=Bytes())
    return json_lines.build(of_file | {"response_tokens": 24}, vocabulary=Bytes())

  return make


@pytest.mark.parametrize("name", HOST)
def test_verdicts_of_a_host_task_hold_what_it_declares_and_nothing_else(name, host_task):
  task = host_task(name)
  assert not task.on_device and {"correct", *(f"part/{failure}" for failure in FAILURES)} <= task.provides.keys()
  shape = ROWS, task.response_tokens
  tokens = np.full(shape, ord("7"), np.int32)
  if task.turns:
    call = np.frombuffer(b"<tool>2+3</tool>", np.uint8)
    tokens[0, : len(call)] = call  # a turn that is answered
  mask = np.zeros(shape, bool)
  mask[:, :16] = True
  verdicts = task.verify(np.arange(ROWS), "train", tokens, mask)
  assert forms(verdicts.extras) == declared(task)
  if task.turns:
    answered = verdicts.extras["observation_mask"].any(axis=1)
    assert answered[0] and (verdicts.extras["done"] == ~answered).all()
  task.close()


METHODS = sorted(
  path.stem for path in (FOLDER.parent / "rl_jax/methods").glob("[a-z]*.py") if (FOLDER / path.name).exists()
)
"""Modules of methods with an experiment."""


class Recording(dict):
  """Extras that remember which of them were read."""

  def __init__(self, extras, read):
    super().__init__(extras)
    self.read = read

  def __getitem__(self, name):
    self.read.add(name)
    return super().__getitem__(name)

  def get(self, name, default=None):
    return self[name] if name in self else default


class Traced(NamedTuple):
  """Extras of one iteration: all that its rollout leaves, and those that signal and losses read."""

  made: dict[str, jax.ShapeDtypeStruct]
  read: set[str]


def traced(experiment) -> Traced:
  method, made, read = experiment.method, {}, set()
  recorded = lambda rows: rows.replace(extras=Recording(rows.extras, read))

  def iterate():
    seed = nn.unbox(state.init_seed(experiment, 0))
    rows = iteration.make_batch(experiment, seed, 0)[1].trajectories
    made.update({name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in rows.extras.items()})
    rows = iteration.score(experiment, seed, rows, experiment.models)
    streams = method.signal(recorded(rows), jnp.int32(0)).streams
    outputs = {
      name: model.outputs(seed.models[name].params, rows)
      for name, model in experiment.models.items()
      if method.models[name].trained
    }
    losses = [method.loss(outputs, recorded(rows), streams)]
    return losses + [role.loss(outputs, recorded(rows)) for role in method.models.values() if role.loss]

  jax.eval_shape(iterate)
  return Traced(made, read)


def test_the_methods_are_found():
  assert {"grpo", "ppo", "prime", "spo_tree", "igpo", "oracle"} <= set(METHODS)


def assert_extras_are_those_declared(experiment) -> None:
  """What a rollout keeps of a task's extras it need not declare; "correct" is what every batch may have."""
  (made, read), method = traced(experiment), experiment.method
  assert set(method.rollout.provides) <= made.keys(), "declared and not there"
  rows, slots = made["levels"].shape[0], experiment.task.response_tokens
  width = method.rollout.prompt_width or experiment.task.prompt_tokens
  for name, one in method.rollout.provides.items():
    found = made[name]
    sizes = [width + slots if size == "T" else size for size in one.shape]
    assert found.dtype == one.dtype and found.ndim == 1 + len(one.shape), name
    known = [n for n, size in zip(found.shape[1:], sizes, strict=True) if isinstance(size, int)]
    assert found.shape[0] == rows and known == [size for size in sizes if isinstance(size, int)], name
  assert made.keys() <= {*ALWAYS, *experiment.task.provides, *method.rollout.provides}, "there and not declared"
  assert {*ALWAYS, *experiment.task.provides} <= made.keys(), "lost on the way"
  assert read - {*ALWAYS, *method.scoring, "correct"} <= set(method.requires), "read and not required"
  assert set(method.requires) <= read, "required and not read"


@pytest.mark.parametrize("name", METHODS)
def test_extras_are_those_that_rollouts_declare_and_methods_require(name):
  assert_extras_are_those_declared(initialization.build(configs.resolve(f"{FOLDER / name}.py:smoke", ["num_seeds=1"])))


def test_those_of_demonstrations_are():
  config = configs.resolve(f"{FOLDER / 'grpo'}.py:smoke")
  assert_extras_are_those_declared(initialization.build(initialization.stage_config(config, "warm_start")))


@pytest.mark.parametrize("phase", ["router", "head", "experts"])
def test_those_of_pairs_are(phase):
  config = configs.resolve(f"{FOLDER / 'dmoerm'}.py:smoke")
  assert_extras_are_those_declared(initialization.build(initialization.stage_config(config, phase)))


def test_those_of_values_by_completions_are():
  config = configs.resolve(
    f"{FOLDER / 'oracle'}.py:smoke", ["num_seeds=1", "method.truth=completions", "method.max_steps=2"]
  )
  assert_extras_are_those_declared(initialization.build(config))


def needy(*needs: str, scoring=None, wrong: str = ""):
  """A user's method, as an object, that reads extras; with `wrong` one whose options make no sense."""

  def build(config, task):
    if wrong:
      raise ValueError(wrong)

    def signal(trajectories, iteration) -> Signal:
      read = sum(trajectories.extras[name] for name in needs)
      return Signal({"policy": policy_gradient.token_stream(trajectories, read * 1.0)})

    return policy_gradient.method(config, task, signal, papers=(), requires=needs, scoring=scoring or {})

  return types.SimpleNamespace(get_config=policy_gradient.get_config, build=build)


def config_with(method, task=None):
  plain = small.make_config().to_dict() | {"method": {"name": method}, "stages": {}}
  return configs.resolve_config(plain | ({"task": {"name": task}} if task else {}))


def test_a_need_is_met_by_the_task_the_rollout_or_the_models():
  method = needy("step_correct", "behaviour_entropies", "again", scoring={"again": ("policy", "logprobs")})
  experiment = initialization.build(config_with(method))
  assert set(experiment.method.requires) == {"step_correct", "behaviour_entropies", "again"}


def test_a_need_that_nobody_meets_is_one_line_with_both_sides_and_what_there_is():
  with pytest.raises(UserError) as refused:
    initialization.build(config_with(needy("levels", "step_correct"), bit_strings))
  line = str(refused.value)
  assert "it requires step_correct of the task BitStrings or its own rollout" in line
  assert "which give behaviour_entropies, first_bit, levels: use another task" in line
  assert line.endswith("such as that of an experiment with this method") and "\n" not in line
  assert line.startswith("method ") and "needy" in line, "the method is named, though it is an object"


def test_a_curriculum_has_needs_too():
  method = needy()

  def build(config, task):
    built = method.build(config, task)
    return dataclasses.replace(built, curriculum=built.curriculum._replace(requires=("step_correct",)))

  counting = types.SimpleNamespace(get_config=method.get_config, build=build)
  assert initialization.build(config_with(counting)).method.curriculum.requires == ("step_correct",)
  with pytest.raises(UserError, match="its curriculum requires step_correct of the task BitStrings or its own rol"):
    initialization.build(config_with(counting, bit_strings))


def test_it_is_met_by_another_task():
  assert initialization.build(config_with(needy("first_bit"), bit_strings)).method.requires == ("first_bit",)


def test_what_an_object_cannot_do_is_one_line_that_names_it():
  """An object has no name in its config as a module has."""
  place = r"\(tests/training/test_requirements.py, line \d+\)"
  with pytest.raises(UserError, match=rf"^method [\w.]*test_requirements:needy\S*build {place}: alpha is above 0$"):
    initialization.build(config_with(needy(wrong="alpha is above 0")))
