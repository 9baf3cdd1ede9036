"""All commands have the same --help, --version, names of runs, prefix and exit status (findings 12, 23 to 25)."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys

import pytest

from rl_jax import __main__ as entry
from rl_jax import benchmark, cite, curve, evaluate, plan, report, study, train, verify
from rl_jax import list as lister
from rl_jax.configuration import command_line, configs, parts
from rl_jax.errors import UserError
from rl_jax.launching import initialization
from rl_jax.runs.directory import open_run
from rl_jax.runs.manifest import append_launch
from rl_jax.runs.metrics import MetricsWriter
from rl_jax.tasks.tools import search
from tests import commands
from tests.runs import fabricated

COMMANDS = sorted(entry.commands())


def printed(name: str, flag: str, capsys) -> str:
  with pytest.raises(SystemExit) as end:
    importlib.import_module(f"rl_jax.{name}").main([flag])
  assert end.value.code == 0
  return capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(("called", "expected"), [("/bin/rl-jax", "rl-jax {}"), ("x/train.py", "python -m rl_jax.{}")])
def test_help_says_how_it_was_called(name, called, expected, capsys, monkeypatch):
  monkeypatch.setattr(sys, "argv", [called])
  monkeypatch.setenv("COLUMNS", "200")
  text = printed(name, "--help", capsys)
  program = expected.format(name)
  assert text.startswith(f"usage: {program} ") and f"Example: {program} " in text
  assert "task.modulus" not in text, "no such field: finding 23"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_has_a_version_and_each_flag_a_help(name, capsys, monkeypatch):
  assert re.fullmatch(r"rl-jax \d+\.\d+\.\d+\n", printed(name, "--version", capsys))
  parsers = []
  monkeypatch.setattr(command_line.Parser, "print_help", lambda self: parsers.append(self))
  printed(name, "--help", capsys)
  assert [action.dest for action in parsers[0]._actions if not action.help] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_flag_is_one_line_and_status_1(name, capsys):
  assert importlib.import_module(f"rl_jax.{name}").main(["--nonsense=1"]) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f"rl_jax.{name}: ")


@pytest.mark.parametrize(
  ("command", "argv", "expected"),
  [
    (train, ["grpo", "--learning_rate=1e-3"], "unknown flag '--learning_rate': did you mean '--config.learning_rate'?"),
    (train, ["grpo", "--method.name=x.py"], "did you mean '--config.method.name'?"),
    (train, ["grpo", "--wrkdir=x"], "unknown flag '--wrkdir': did you mean '--workdir'?"),
    (train, ["grpo:smoke", "--config.method.name=grpo"], "no module 'grpo': did you mean 'rl_jax.methods.grpo'?"),
    (train, ["grpo:smoke", "--config.method.name=none.py"], "no file 'none.py' (known: rl_jax.methods.a_grae, "),
    (train, ["grpo:smoke", "--config.task.name=chain"], "no module 'chain': did you mean 'rl_jax.tasks.chain'?"),
    (train, ["grpo:smoke", "--config.model.name=llama"], "no module 'llama': did you mean 'llama3."),
    (train, ["grpo:smok"], "variant 'smok' is not known: leave it out, or take one of"),
    (train, ["--config=README.md"], "no experiment 'README.md' (known: "),
    (train, ["--config=rl_jax/methods/grpo.py"], "grpo.py has no section method, task, model, checkpoint"),
    (plan, ["grpo"], "--topology is missing: write for example --topology=v5e:2x4"),
    (plan, ["grpo", "--workdir=x"], "unknown flag '--workdir': python -m rl_jax.plan keeps no run"),
    (verify, ["README.md"], "rl_jax.verify: README.md is a file: give the --workdir of a run"),
    (verify, ["runs/x", "--iterations=-3"], "--iterations=-3: 0 looks at the log alone"),
    (verify, ["runs/x", "--iteration=3"], "unknown flag '--iteration': did you mean '--iterations'?"),
    (report, ["runs/x", "--metrics=reward"], "unknown flag '--metrics': it is a flag of python -m rl_jax.curve"),
    (report, ["runs/x", "--learning_rate=1"], "unknown flag '--learning_rate' (known: --across, "),
    (report, ["runs/x", "runs/x/"], "runs/x is named twice: name each run once"),
    (report, ["runs/x", "runs/y/../x"], "runs/x and runs/y/../x are the same run: name each run once"),
    (verify, ["runs/x", "--workdir=runs/x"], "runs/x is named twice"),
    (cite, ["runs/x", "--with=runs/x"], "runs/x is named twice"),
    (train, ["grpo:smoke", "--workdir="], "argument --workdir: it is empty: write a path ('.' is the current folder)"),
    (report, ["runs/x", "runs/y", "--output= "], "argument --output: it is empty"),
    (report, [""], "argument RUN: it is empty"),
    (verify, ["--workdir="], "argument --workdir: it is empty"),
    (cite, ["runs/x", "--with="], "argument --with: it is empty"),
    (study, ["horizon", "--results="], "argument --results: it is empty"),
    (study, ["horizon", "--workdir="], "argument --workdir: it is empty"),
    (study, [""], "no study '' (known: "),
    (study, ["nope"], "no study 'nope' (known: "),
    (lister, ["experiment"], "argument kind: no choice 'experiment': did you mean 'experiments'?"),
    (lister, ["things"], "argument kind: no choice 'things' (known: experiments, methods, models, studies, tasks)"),
    (cite, ["runs/x", "--format=bibtx"], "argument --format: no choice 'bibtx': did you mean 'bibtex'?"),
    (report, ["runs/x", "--across=token"], "argument --across: no choice 'token': did you mean 'tokens'?"),
    (benchmark, ["iterations"], "argument benchmark: no choice 'iterations': did you mean 'iteration'?"),
    (train, ["grpo:smoke", "--workdir=a\0b"], r"argument --workdir: 'a\x00b' holds a null byte, which no path can"),
    (train, ["grpo:smoke", "--workdir=~nobody1/x"], "--workdir: '~nobody1/x': ~ is of no known user; for a folder"),
    (report, ["a\0b"], r"argument RUN: 'a\x00b' holds a null byte"),
    (train, ["grpo:smoke", "--config.method.name=folder.py"], "folder.py is a folder: name a Python file in it"),
    (train, ["folder.py"], "folder.py is a folder: name a Python file in it"),
    (verify, ["x" * 300], "does not exist: give the --workdir of a run"),
    (evaluate, ["runs/x", "--output="], "argument --output: it is empty"),
    (evaluate, ["runs/x", "--compare="], "argument --compare: it is empty"),
    (train, ["--config="], "no experiment '' (known: "),
    (report, [], "no run is named: give its folder, as in runs/grpo"),
    (curve, ["a", "b"], "2 runs are named (a, b): give 1"),
    (cite, ["--workdir=nowhere"], "nowhere does not exist: give the --workdir of a run"),
    (evaluate, ["experiments"], "experiments holds no run"),
  ],
)
def test_suggestions_help(command, argv, expected, capsys, tmp_path, monkeypatch):
  """Findings 24 and 25."""
  if any("folder.py" in argument for argument in argv):
    (tmp_path / "folder.py").mkdir()
    monkeypatch.chdir(tmp_path)
  assert command.main(argv) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert expected in line, line


def test_another_part_takes_over_what_it_knows_of_the_files_section():
  """Finding 24: task and model can be swapped on the command line."""
  with pytest.raises(UserError, match="task rl_jax.tasks.json_lines: task.file is missing"):
    commands_of = configs.resolve("grpo:smoke", ["task.name=rl_jax.tasks.json_lines"])
    importlib.import_module("rl_jax.launching.initialization").build(commands_of)
  config = configs.resolve("grpo:smoke", ["model.name=rl_jax.models.pretrained", "model.lora_rank=4"])
  assert "width" not in config.model and config.model.lora_rank == 4
  assert configs.resolve("grpo:smoke", ["task.name=rl_jax.tasks.lookup"]).task.levels.to_dict() == {
    "four": {"operations": 4, "operators": "+-*", "modulus": 2}
  }, "what both know stays"


def test_the_home_folder_is_that_of_its_user(tmp_path, monkeypatch):
  """A shell does not expand the ~ of --workdir=~/runs."""
  monkeypatch.setenv("HOME", str(tmp_path))
  (tmp_path / "mine.py").write_text("def get_config():\n  return {'x': 1}\n")
  (tmp_path / "critic").mkdir()
  (tmp_path / "corpus.txt").write_text("one two")
  assert command_line.to_path("~/runs") == tmp_path / "runs" and str(command_line.to_path("a/~")) == "a/~"
  assert [str(command_line.to_path(text)) for text in (".", "./~x")] == [".", "~x"]
  assert configs.resolve("~/mine.py").x == parts.load("~/mine.py").get_config()["x"] == 1
  assert initialization.parsed("~/critic#critic@0123") == (str(tmp_path / "critic"), "critic", "0123")
  assert search.passages("~/corpus.txt") == ["one two"]


def test_flags_of_others_are_theirs(capsys):
  of_commands = {name: printed(name, "--help", capsys) for name in set(command_line.OF_OTHERS.values())}
  assert [flag for flag, name in command_line.OF_OTHERS.items() if f"  {flag}" not in of_commands[name]] == []


@pytest.fixture
def runs(tmp_path):
  folders = []
  for name in ("a", "b"):
    with open_run(tmp_path / name, configs.resolve("grpo:smoke").to_dict(), name, {}) as directory:
      writer = MetricsWriter(directory, tensorboard=False)
      for iteration in (1, 2):
        writer.write("train", iteration, {"reward": [0.5, 1.0], "held_out/sampled_accuracy": [0.5, 0.5]})
      writer.close()
    append_launch(directory.manifest, fabricated.LAUNCH)
    folders.append(str(tmp_path / name))
  return folders


def test_runs_are_named_alone_or_by_workdir(runs, tmp_path, capsys):
  assert report.main([runs[0], f"--workdir={runs[1]}", f"--output={tmp_path / 'x.html'}"]) == 0
  assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "x.html", "x.png"}
  shown = []
  metrics = "--metrics=reward"
  for argv in (["--metrics", "reward", runs[0]], [runs[0], metrics], [f"--workdir={runs[0]}", metrics]):
    capsys.readouterr()
    assert curve.main(argv) == 0, capsys.readouterr().err
    shown.append(capsys.readouterr().out)
  assert '"reward"' in shown[0] and len(set(shown)) == 1


@pytest.mark.parametrize("argv", [[], ["list"], ["list", "--help"], ["--version"]])
@pytest.mark.parametrize("buffered", ["0", "1"])
def test_a_full_disk_is_one_line(argv, buffered):
  environment = os.environ | ({"PYTHONUNBUFFERED": "1"} if buffered == "0" else {})
  if buffered == "1":
    environment.pop("PYTHONUNBUFFERED", None)
  with open("/dev/full", "w") as full:
    done = subprocess.run([sys.executable, "-m", "rl_jax", *argv], stdout=full, stderr=subprocess.PIPE, text=True,
                          cwd=commands.ROOT, env=environment, timeout=60, check=False)  # fmt: skip
  if "--help" in argv and buffered == "0":  # argparse itself looks away
    assert done.returncode == 0 and not done.stderr
  else:
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and line.endswith(": cannot write the output: No space left on device")
