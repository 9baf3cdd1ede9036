"""A mistake in a user's own method, task or verifier ends the training in one line with its place (findings 12, 13)."""

from __future__ import annotations

import contextlib
import functools
import re
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from rl_jax import study, train
from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.inputs.users_code import one_line
from rl_jax.kernels.reductions import Mean
from rl_jax.launching import initialization
from rl_jax.launching.failures import of_users_code
from rl_jax.launching.loop import RunLoop
from rl_jax.methods import policy_gradient
from rl_jax.tasks.scoring import FAILURES, without_rewards_of_failures_alone
from rl_jax.tasks.verifiers.in_process import InProcess
from rl_jax.tasks.verifiers.pool import Pool
from rl_jax.training.host_loop import NO_TIME, HostLoop, _VerifiedRows
from rl_jax.training.trainer import Trainer
from tests import commands
from tests.tasks.bit_strings import BitStrings
from tests.training import small

BUILT = "return policy_gradient.method(config, task, signal, papers=())"
SIGNAL = 'return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)})'
METHOD = f"""
import jax.numpy as jnp
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Loss, Mean, Signal, Stream, Term

def get_config():
  return policy_gradient.get_config()

def build(config, task):
  def signal(trajectories, iteration):
    advantages = trajectories.rewards
    {SIGNAL}
  {BUILT}
"""
TASK = """
import jax.numpy as jnp
from tests.tasks import bit_strings

def get_config():
  return {}

def build(config):
  return Mine()

class Mine(bit_strings.BitStrings):
  def verify(self, prompts, tokens, mask):
    verdicts = super().verify(prompts, tokens, mask)
    return verdicts
"""


def refused(folder: Path, capsys, *overrides: str, experiment: str = "grpo:smoke") -> str:
  """The last line of a command that ends with status 1 and leaves the folder free for another run."""
  assert train.main([experiment, f"--workdir={folder / 'run'}", *(f"--config.{o}" for o in overrides)]) == 1
  said = capsys.readouterr().err
  assert "Traceback" not in said
  *before, line = said.splitlines()
  assert len(before) <= 1 and all("compiling" in text for text in before), said
  left = {path.name for path in (folder / "run").iterdir()} if (folder / "run").exists() else set()
  assert left <= {"traceback.txt"}
  return line.removeprefix("rl_jax.train: ")


def refused_method(folder: Path, capsys, text: str) -> str:
  (folder / "mine.py").write_text(text.lstrip("\n"))
  return refused(folder, capsys, *commands.SMALL, "init_from=", f"method.name={folder / 'mine.py'}")


def in_method(old: str, new: str) -> str:
  assert old in METHOD
  return METHOD.replace(old, new)


advantages = lambda expression: in_method("advantages = trajectories.rewards", f"advantages = {expression}")


@pytest.mark.parametrize(
  "text, place, expected",
  [
    (advantages("trajectories.rewards[1:]"), "line 11: ", r"advantages have shape \(7,\): give one per row, \[8\], or"),
    (in_method(SIGNAL, 'raise RuntimeError("no such credit")'), "line 11: ", "RuntimeError: no such credit"),
    (advantages("None"), "line 11: ", r"advantages are of type NoneType: give one per row, \[8\], or one per token"),
    (advantages("1.0 if trajectories.rewards.sum() > 0 else 0.0"), "line 10: ",
     "TracerBoolConversionError: .* use jnp.where, jax.lax.cond and functions of jnp in place of if"),
    (advantages("trajectories.reward"), "line 10: ", "AttributeError: 'Trajectories' object has no attribute 'reward'"),
    (advantages("1j * trajectories.rewards"), "line 11: ",
     r"advantages have dtype complex64: give real numbers, as float32, one per row, \[8\], or one per token, \[8, "),
    (advantages("__import__('sys').exit(5)"), "line 10: ", "SystemExit: 5: it asks to end the program"),
    (in_method(SIGNAL, 'from rl_jax.errors import UserError; raise UserError("mine")'), "line 11: ",
     "line 11: mine .traceback: .*run/traceback.txt.$"),
    (in_method('trajectories, advantages)}', 'trajectories, advantages), 3: None}'), "line 9",
     "streams have the name 3, want text"),
    (in_method('{"policy":', '{"polcy":'), "line 9", r"gives the streams 'polcy', .*: loss .* looks for 'policy'"),
    (in_method(SIGNAL, "pass"), "line 9", r"gave None, want a Signal"),
    (in_method(SIGNAL, 'return Signal({"policy": Stream(advantages, advantages)})'), "line 9",
     r"targets of stream 'policy' are an array of shape \(8,\) .*, want one real number per token, \[B, T\] = \(8, "),
    (in_method(BUILT, BUILT.replace("papers", "loss=lambda *_: None, papers")), "line 12", "gave None, want a Loss"),
    (in_method(BUILT, BUILT.replace("papers", "loss=lambda *_: Loss({'x': Term(0.0, trains='critic')}, {}), papers")),
     "line 12", "term 'x' trains 'critic', the trained models are 'policy'"),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in (
      (advantages("jnp.ones((3, 7))"), "line 11: ", r"advantages have shape \(3, 7\): give one per row, \[8\], or"),
      (in_method(SIGNAL, 'raise ValueError("no such credit")'), "line 11: ", "ValueError: no such credit"),
      (advantages("trajectories.rewards.mean()"), "line 11: ", r"advantages have shape \(\): give one per row"),
      (advantages("__import__('numpy').array(['up'] * 8)"), "line 11: ", "advantages have dtype <U2: give real"),
      (advantages("__import__('numpy').array([None] * 8)"), "line 11: ", "advantages have dtype object: give real"),
      (in_method(SIGNAL, 'return Signal({"policy": Stream(1j * trajectories.trained, trajectories.trained)})'),
       "line 9", r"targets of stream 'policy' are an array of shape .* and type complex64, want one real number"),
      (in_method(SIGNAL, 'return Signal({}, {"mine": Mean(jnp.complex64(1), 1)})'), "line 9",
       "metrics: 'mine' is Mean.an array of shape .. and type complex64, 1., want a Mean.* of two single real numbers"),
      (in_method(SIGNAL, 'raise ValueError("a\\n  b")'), "line 11: ", "ValueError: a; b .traceback"),
      (in_method(SIGNAL, 'return Signal({}, {3: Mean(0.0, 1.0)})'), "line 9", "metrics have the name 3, want text"),
      (in_method(BUILT, BUILT.replace("papers", "loss=lambda *_: Loss({3: Term(0.0)}, {}), papers")), "line 12",
       "terms have the name 3, want text"),
    )),  # refused in the places of those above
  ],
)  # fmt: skip
def test_a_signal_or_loss_that_does_not_fit(text, place, expected, tmp_path, capsys):
  line = refused_method(tmp_path, capsys, text)
  assert f"{tmp_path / 'mine.py'}, {place}" in line and re.search(expected, line), line


@pytest.mark.parametrize(
  "text, place, expected",
  [
    (METHOD.partition("def build")[0], "", r"mine.py' cannot be used as method, task or model: it has no build\(\)"),
    (in_method(BUILT, "pass"), "line 8", r"build \(.*\) gave None, want a Method"),
    (in_method("build(config, task)", "build(config)"), "line 8", r"is called as build\(config, task\): too many"),
    (in_method("signal(trajectories, iteration)", "signal(trajectories)"), "line 9", "is called as signal"),
    (in_method("papers=()", "paper=()"), "line 12: ", "TypeError: method.. got an unexpected keyword argument 'paper'"),
    (in_method(BUILT, 'raise ValueError("no such rank")'), "line 12", "no such rank"),
    (in_method("get_config():", "get_config(a):"), "line 5", r"called as get_config\(\): missing a required argument"),
    (in_method("policy_gradient.get_config()", "policy_gradient.get_config() | {1: 2}"), "line 5", "has the field 1: "),
    (in_method("policy_gradient.get_config()", "{'a': {'b.c': 2}}"), "line 5", "has the field 'b.c': a name is text"),
    (METHOD + "RANGES = [1]\n", "", r"mine.py: RANGES is \[1\], want a dict by option, as in {'ddof': Range\(0, 1\)}"),
    (METHOD + "RANGES = {'ddof': (0, 1)}\n", "", r"mine.py: RANGES\['ddof'\] is \(0, 1\), want a Range of two numbers"),
    (METHOD + "\nx = '\0'\n", "", "mine.py, line 14 is no Python source: it holds a null byte; save the file as UTF-8"),
    (in_method(BUILT, f"built = {BUILT[7:]}; import dataclasses; return dataclasses.replace(built, models=['policy'])"),
     "line 8", "models of its Method are a list, want a dict by names that are text"),
    (in_method(BUILT, f"built = {BUILT[7:]}; import dataclasses; return dataclasses.replace(built, rollout=None)"),
     "line 8", "rollout of its Method is None, want a Rollout"),
    (in_method(BUILT, 'raise ValueError("no\\nsuch rank")'), "line 12", "no; such rank$"),
    ("import not_there\n" + METHOD.lstrip(), "line 1: ", "ModuleNotFoundError: No module named 'not_there'"),
    (in_method("build(config, task):", "build(config, task)"), "line 8: ", "SyntaxError: expected ':'"),
    (in_method("  return policy_gradient.get_config()", "  pass"), "line 5", "gave None: it has to give a dict"),
    ("import sys\nsys.exit(3)\n", "line 2", r"mine.py, line 2 ends the program \(SystemExit: 3\): it is a script"),
    (in_method(BUILT, "raise SystemExit(5)"), "line 12: ", "SystemExit: 5: it asks to end the program: raise an error"),
    ("# -*- coding: nonsense -*-\n", "", "mine.py is no Python source: unknown encoding"),
  ],
)  # fmt: skip
def test_a_method_that_cannot_be_built(text, place, expected, tmp_path, capsys):
  line = refused_method(tmp_path, capsys, text)
  assert (not place or f"{tmp_path / 'mine.py'}, {place}" in line) and re.search(expected, line), line


def test_the_traceback_is_in_the_folder_until_a_start_that_succeeds(tmp_path, capsys):
  line = refused_method(tmp_path, capsys, advantages("1 / 0"))
  file = tmp_path / "run" / "traceback.txt"
  assert line.endswith(f"mine.py, line 10: ZeroDivisionError: division by zero (traceback: {file})")
  assert file.read_text().startswith("Traceback") and "advantages = 1 / 0" in file.read_text()


def test_a_folder_of_other_things_gets_no_traceback(tmp_path, capsys):
  (tmp_path / "run").mkdir()
  (tmp_path / "run" / "thesis.tex").touch()
  (tmp_path / "mine.py").write_text("import not_there\n")
  flags = [f"--workdir={tmp_path / 'run'}", f"--config.method.name={tmp_path / 'mine.py'}"]
  assert train.main(["grpo:smoke", *flags]) == 1
  file = Path(re.search(r"traceback: (.*)\)$", capsys.readouterr().err.strip())[1])
  assert file.read_text().startswith("Traceback") and [p.name for p in (tmp_path / "run").iterdir()] == ["thesis.tex"]
  file.unlink()


def test_a_file_of_what_is_not_text_by_its_module_name(tmp_path, monkeypatch):
  (tmp_path / "of_nulls.py").write_bytes(b"x = 1\0\n")
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(UserError, match="module 'of_nulls' is no Python source: source code .* null bytes"):
    configs.resolve_role("of_nulls")


@pytest.mark.parametrize(
  "text, expected",
  [
    ("def get_config(a):\n  pass\n", r"mine.py, line 1. is called as get_config\(\): missing a required argument: 'a'"),
    ("get_config = 3\n", r"mine.py: get_config is of type int, want a function get_config\(\)"),
    ("def get_config():\n  return {1: 2}\n", "mine.py, line 1. has the field 1: a name is text without dots"),
    ("def get_config():\n  pass\n", "mine.py, line 1. gave None: it has to give a dict"),
    ("def get_config():\n  raise ValueError('a\\n b')\n", "mine.py: a; b$"),
  ],
)
@pytest.mark.parametrize("command", [train, study])
def test_a_config_or_study_that_gives_no_fields(command, text, expected, tmp_path, capsys):
  (tmp_path / "mine.py").write_text(text)
  assert command.main([str(tmp_path / "mine.py"), f"--workdir={tmp_path / 'run'}"]) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert re.search(expected, line), line


@pytest.mark.parametrize(
  "part, text, expected",
  [
    ("task", "def get_config(a): pass\ndef build(config): pass\n", r"line 1. is called as get_config\(\): missing"),
    ("model", "def get_config(): return {1: 2}\ndef build(config): pass\n", "line 1. has the field 1: a name is text"),
    ("model", "def get_config(): return {}\ndef build(config): pass\n",
     r"line 2. is called as build\(config, vocabulary, names=…, heads=…, temperature=…\): "),
    ("model", "\0", "mine.py, line 1 is no Python source: it holds a null byte"),
  ],
)  # fmt: skip
def test_a_task_or_model_that_does_not_fit(part, text, expected, tmp_path):
  (tmp_path / "mine.py").write_text(text)
  with pytest.raises(UserError, match=expected):
    initialization.build(configs.resolve("grpo:smoke", [f"{part}.name={tmp_path / 'mine.py'}"]))


def test_another_method_does_not_take_over_what_it_does_not_know():
  """Finding 12: what the file says of its own method goes with that; what both know stays."""
  own = types.SimpleNamespace(get_config=lambda: {"kl_coefficient": 0.5, "mine": 1}, build=None)
  own.build = lambda config, task: None
  config = configs.resolve_config(configs.resolve("grpo:smoke"), {"method.name": own, "method.mine": "2"})
  assert config.method.to_dict() == {"name": own, "kl_coefficient": 0.0, "mine": 2}
  with pytest.raises(UserError, match="unknown config key 'method.clip_low'"):
    configs.resolve_config(config, {"method.clip_low": "0.1"})


@pytest.mark.parametrize(
  "error, said",
  [
    (KeyError("x"), "KeyError: 'x'"),
    (ValueError(), "ValueError"),
    (ValueError("a\n\n b\n"), "ValueError: a; b"),
    (ValueError("a" * 600), f"ValueError: {'a' * 500} …"),
  ],
)
def test_an_exception_in_one_line(error, said):
  assert one_line(error) == said


@pytest.mark.parametrize(
  "text",
  ["import not_there\n", "def get_config(:\n", "def get_config():\n  return {}['x']\n"],
)
def test_a_config_that_is_broken(text, tmp_path, capsys):
  (tmp_path / "mine.py").write_text(text)
  assert train.main([str(tmp_path / "mine.py"), f"--workdir={tmp_path / 'run'}"]) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert f"{tmp_path / 'mine.py'}, line " in line and "Error: " in line


def test_a_device_that_is_too_small_is_a_line():
  text = "RESOURCE_EXHAUSTED: Out of memory allocating 80 bytes.\nBuffers:\n  1 MB"
  with pytest.raises(UserError, match=r"out of memory .Out of memory allocating 80 bytes.+: set rows_per_microbatch"):
    with of_users_code():
      raise jax.errors.JaxRuntimeError(text)


@pytest.mark.parametrize(
  "gives, expected",
  [
    ("None", r"gave None, want Verdicts"),
    ("verdicts.rewards", "gave a .*, want Verdicts"),
    ("verdicts.replace(rewards=1j * verdicts.rewards)", "rewards have dtype complex64, want real numbers"),
    ("verdicts.replace(step_ids=0.5 * verdicts.step_ids)", "step_ids have dtype float32, want whole numbers"),
    ("verdicts.replace(rewards=verdicts.rewards.sum())",
     r"rewards are of shape \(\), want an array of shape \(8,\)"),
    ("verdicts.replace(extras={3: verdicts.rewards})", r"extras are by \[3\], want a dict by names that are text"),
    ("verdicts.rewards.missing", "line 13: AttributeError: .* has no attribute .?missing"),
  ],
)  # fmt: skip
def test_a_tasks_verifier_that_does_not_fit(gives, expected, tmp_path, capsys):
  (tmp_path / "mine.py").write_text(TASK.replace("return verdicts", f"return {gives}").lstrip("\n"))
  task = {"name": str(tmp_path / "mine.py")}
  experiment = f"""
from rl_jax.configuration import configs
def get_config():
  return configs.resolve("grpo:smoke").to_dict() | {{"task": {task}, "init_from": "", "stages": {{}}}}
"""
  (tmp_path / "experiment.py").write_text(experiment)
  small = [o for o in commands.SMALL if not o.startswith("task.")]
  line = refused(tmp_path, capsys, *small, experiment=str(tmp_path / "experiment.py"))
  assert f"{tmp_path / 'mine.py'}, line " in line and re.search(expected, line), line


@pytest.mark.parametrize("kind", ["int32", "float16", "bool"])
def test_advantages_may_be_any_real_numbers(kind):
  experiment = small.make_experiment("num_seeds=1")
  rows = small.make_trajectories(experiment, small.make_seed(experiment))
  stream = policy_gradient.token_stream(rows, jnp.ones(len(rows.tokens), kind))
  assert stream.targets.dtype == jnp.float32 and (stream.targets == stream.weights).all()


@pytest.mark.parametrize("skipped, last_good, said", [
  ([[0, 9], [1, 10]], 4, "iteration 6: loss, gradient or updated parameters were not finite in the last 10 or more "
   "updates of seed 4; iteration 4 was the last good one, no checkpoint is saved: lower learning_rate, or look at "
   "rewards and advantages"),
  ([[10, 10]], None, "not finite in the last 10 or more updates of seed 3, 4; none was good before, no checkpoint is"),
])  # fmt: skip
def test_advantages_of_nan_or_too_large_end_in_a_line_after_some_updates_left_out(skipped, last_good, said):
  """A single NaN, and numbers of 1e30, give no finite gradient."""
  config = ConfigDict({"seed": 3, "optimizer": {"max_skipped_updates": 10}})
  checkpoints = types.SimpleNamespace(wait=lambda: None, steps=list)
  of_loop = types.SimpleNamespace(config=config, checkpoints=checkpoints, last_good=last_good)
  with pytest.raises(UserError) as error:
    RunLoop._look_for_skipped(of_loop, 4, np.array(skipped))
  assert said in str(error.value)


@pytest.mark.parametrize("reward", [np.nan, np.inf])
def test_rewards_of_a_task_that_are_not_finite(reward):
  config = ConfigDict({"seed": 3, "task": {"name": "mine.py"}})
  trainer = types.SimpleNamespace(experiment=types.SimpleNamespace(config=config, task=BitStrings()))
  trainer._refuse_reward = functools.partial(Trainer._refuse_reward, trainer)
  report = types.SimpleNamespace(metrics={"reward": Mean(np.array([[0.0, 0.0], [0.0, reward]]), np.ones((2, 2)))})
  with pytest.raises(UserError, match="iteration 6: a reward of seed 4 is not finite: the verifier of mine.py gives"):
    Trainer._check_rewards(trainer, 4, report)


VERIFIERS = """
import os, signal
from rl_jax.tasks.scoring import Verdict

def raises(response, entry): raise RuntimeError("no such answer")
def text(response, entry): return "right"
def none(response, entry): return None
def number(response, entry): return 0.5
def nan(response, entry): return Verdict(float("nan"))
def inf(response, entry): return Verdict(float("inf"))
def slow(response, entry):
  while True: pass
def killed(response, entry): os.kill(os.getpid(), signal.SIGKILL)
"""
UNSCORED = "no response of the iteration has a verdict: my_verifiers:{name} has raised 2 times, last: "
FAILED = "all responses timed out or crashed: "


@pytest.mark.parametrize("name, said", [
  ("raises", f"{UNSCORED}RuntimeError: no such answer ({{file}}, line 4)"),
  ("text", f"{UNSCORED}TypeError: the verifier gave 'right' (str), want a number or a Verdict ({{file}}, line 5)"),
  ("none", f"{UNSCORED}TypeError: the verifier gave 'None' (NoneType), want a number or a Verdict ({{file}}, line 6)"),
  ("number", ""),
  ("nan", f"{UNSCORED}ValueError: the reward is nan, want a number from -1e+19 to 1e+19 ({{file}}, line 8)"),
  ("inf", f"{UNSCORED}ValueError: the reward is inf, want a number from -1e+19 to 1e+19 ({{file}}, line 9)"),
  ("slow", f"{FAILED}{NO_TIME}; my_verifiers:{{name}}: 2 responses have timed out and 0 have crashed"),
  ("killed", f"{FAILED}my_verifiers:{{name}}: 0 responses have timed out and 2 have crashed"),
])  # fmt: skip
def test_a_verifier_that_judges_nothing(name, said, tmp_path, monkeypatch):
  (tmp_path / "my_verifiers.py").write_text(VERIFIERS.lstrip("\n"))
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.delitem(sys.modules, "my_verifiers", raising=False)
  verifier, ends = f"my_verifiers:{name}", name in ("slow", "killed")
  scorer = Pool(verifier, {}, workers=1, seconds=0.1, isolated=False) if ends else InProcess(verifier, {})
  with contextlib.closing(scorer) if ends else contextlib.nullcontext():
    verdicts = without_rewards_of_failures_alone(scorer([("one", {}), ("two", {})]))
  failed = [np.array([bool(verdict.parts.get(part)) for verdict in verdicts]) for part in FAILURES]
  task = types.SimpleNamespace(reasons=scorer.notes, max_unscored_iterations=1)
  of_loop = types.SimpleNamespace(task=task, _unjudged_in_a_row=0, _timed_out=False)
  scored = np.array([verdict.reward is not None for verdict in verdicts])
  with pytest.raises(UserError) if said else contextlib.nullcontext() as error:
    HostLoop._check_verdicts(of_loop, _VerifiedRows(scored, *failed))
  assert not said or str(error.value) == said.format(name=name, file=tmp_path / "my_verifiers.py")
