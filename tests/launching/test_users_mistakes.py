"""A mistake in a user's own method or task ends the training in one line with its place (findings 12 and 13)."""

from __future__ import annotations

import re
from pathlib import Path

import jax
import pytest

from rl_jax import train
from rl_jax.errors import UserError
from rl_jax.launching.failures import of_users_code
from tests import commands

BUILT = "return policy_gradient.method(config, task, signal, papers=())"
SIGNAL = 'return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)})'
METHOD = f"""
import jax.numpy as jnp
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Loss, Signal, Stream, Term

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
    (advantages("None"), "line 11: ", r"advantages are of type NoneType: give one per row, \[8\], or one per token"),
    (advantages("trajectories.rewards.mean()"), "line 11: ", r"advantages have shape \(\): give one per row"),
    (advantages("1.0 if trajectories.rewards.sum() > 0 else 0.0"), "line 10: ",
     "TracerBoolConversionError: .* use jnp.where, jax.lax.cond and functions of jnp in place of if"),
    (advantages("trajectories.reward"), "line 10: ", "AttributeError: 'Trajectories' object has no attribute 'reward'"),
    (in_method('{"policy":', '{"polcy":'), "line 9", r"gives the streams 'polcy', .*: loss .* looks for 'policy'"),
    (in_method(SIGNAL, "pass"), "line 9", r"gave None, want a Signal"),
    (in_method(SIGNAL, 'return Signal({"policy": Stream(advantages, advantages)})'), "line 9",
     r"targets of stream 'policy' are an array of shape \(8,\) .*, want one number per token, \[B, T\] = \(8, \d+\)"),
    (in_method(BUILT, BUILT.replace("papers", "loss=lambda *_: None, papers")), "line 12", "gave None, want a Loss"),
    (in_method(BUILT, BUILT.replace("papers", "loss=lambda *_: Loss({'x': Term(0.0, trains='critic')}, {}), papers")),
     "line 12", "term 'x' trains 'critic', the trained models are 'policy'"),
  ],
)  # fmt: skip
def test_a_signal_or_loss_that_does_not_fit(text, place, expected, tmp_path, capsys):
  line = refused_method(tmp_path, capsys, text)
  assert f"{tmp_path / 'mine.py'}, {place}" in line and re.search(expected, line), line


@pytest.mark.parametrize(
  "text, place, expected",
  [
    (in_method(BUILT, "pass"), "line 8", r"build \(.*\) gave None, want a Method"),
    (in_method("build(config, task)", "build(config)"), "line 8", r"is called as build\(config, task\): too many"),
    (in_method("signal(trajectories, iteration)", "signal(trajectories)"), "line 9", "is called as signal"),
    (in_method("papers=()", "paper=()"), "line 12: ", "TypeError: method.. got an unexpected keyword argument 'paper'"),
    (in_method(BUILT, 'raise ValueError("no such rank")'), "line 12", "no such rank"),
    ("import not_there\n" + METHOD.lstrip(), "line 1: ", "ModuleNotFoundError: No module named 'not_there'"),
    (in_method("build(config, task):", "build(config, task)"), "line 8: ", "SyntaxError: expected ':'"),
    (in_method("  return policy_gradient.get_config()", "  pass"), "line 5", "gave None: it has to give a dict"),
    ("import sys\nsys.exit(3)\n", "", r"mine.py ends the program \(SystemExit: 3\)"),
    ("# -*- coding: nonsense -*-\n", "", "mine.py is no Python source: unknown encoding"),
  ],
)
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
    ("verdicts.replace(rewards=verdicts.rewards.sum())",
     r"rewards are of shape \(\), want an array of shape \(8,\)"),
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
