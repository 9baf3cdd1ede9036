"""Bad input to `python -m rl_jax.train`: one line on stderr, exit status 1, nothing lost."""

from __future__ import annotations

import shlex

import pytest

from rl_jax import train
from rl_jax.configuration import configs
from rl_jax.runs.directory import open_run
from tests import commands

RUN = "--config=experiments/grpo.py:smoke --workdir={folder}/run "


def command(capsys, text: str, folder) -> tuple[int, str]:
  """Exit status and the line; in this process, because no line of these needs a device."""
  status = train.main(shlex.split(text.format(folder=folder)))
  told = capsys.readouterr()
  assert told.out == ""
  (line,) = told.err.splitlines()
  return status, line


@pytest.mark.parametrize(
  "text, expected",
  [
    (RUN + "--config.learning_rat=1", "unknown config key 'learning_rat': did you mean 'learning_rate'?"),
    (RUN + "--config.sampling.temprature=1", "did you mean 'sampling.temperature'?"),
    (RUN + "--config.num_seeds=two", "config key 'num_seeds': expected int, got 'two'"),
    (
      RUN + "--config.method.name=rl_jax.methods.gppo",
      "no module 'rl_jax.methods.gppo': did you mean 'rl_jax.methods.ppo'?",
    ),
    (RUN + "--config.method.name=nowhere.py", "no file 'nowhere.py'"),
    (RUN + "--config.stages.warm_start.learning_rat=1", "unknown config key 'learning_rat'"),
    (RUN + "--config.init_from=cold_start", "'cold_start' is neither a stage of this config (critic, warm_start)"),
    (RUN + "--config.method.clip=tight", "tight"),
    (RUN + "--work=x", "unknown flag '--work': did you mean '--workdir'?"),
    (RUN + "train", "two experiments, 'train' and --config=experiments/grpo.py:smoke: give one"),
    (RUN.replace("grpo.py", "grop.py"), "no file 'experiments/grop.py': did you mean 'experiments/grpo.py'?"),
    ("--workdir={folder}/run", "--config is missing"),
    ("", "--config is missing: write for example --config=grpo"),
    (RUN + "--config.num_iterations=0", "num_iterations: want a whole number at least 1, got 0"),
    (RUN + "--config.mesh.rules.foo=5", "mesh rules: there is no logical axis 'foo'"),
  ],
)
def test_a_slip_is_one_line(text, expected, capsys, tmp_path):
  status, line = command(capsys, text, tmp_path)
  assert status == 1 and line.startswith("rl_jax.train: ") and expected in line, line


def test_a_run_that_is_refused_occupies_no_folder(capsys, tmp_path):
  """Its own advice is taken in the same folder."""
  asked = RUN + "--config.rows_per_microbatch=2 --config.num_iterations=2 --config.init_from="
  status, line = command(capsys, asked, tmp_path)
  assert status == 1 and "are not whole groups of 8 rows" in line and "minibatches_of='rows'" in line
  assert not list((tmp_path / "run").iterdir())
  with open_run(tmp_path / "run", {}, "another", {}) as directory:
    assert not directory.continued


def test_a_folder_that_is_not_ours_stays_as_it_is(capsys, tmp_path):
  (tmp_path / "run").mkdir()
  (tmp_path / "run" / "thesis.tex").write_text("x")
  status, line = command(capsys, RUN, tmp_path)
  assert status == 1 and "is not empty and holds no run (thesis.tex): choose another --workdir" in line
  assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_the_folder_of_another_run_stays_as_it_is(capsys, tmp_path):
  config = configs.resolve("experiments/grpo.py:smoke", ["learning_rate=0.5"])
  identity, fields = configs.identity(config)
  with open_run(tmp_path / "run", {"kept": 1}, identity, fields) as directory:
    directory.metrics.write_text('{"kind": "train", "iteration": 1}\n')
  before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
  status, line = command(capsys, RUN + "--config.learning_rate=0.25", tmp_path)
  assert status == 1 and "holds another run (learning_rate: 0.5 there, 0.25 here)" in line
  assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_the_command_itself_ends_with_status_1(tmp_path):
  done = commands.train(commands.flags("experiments/grpo.py:smoke", tmp_path / "run", "sed=1"), tmp_path / "cache")
  assert done.returncode == 1 and done.stdout == ""
  assert done.stderr == "rl_jax.train: unknown config key 'sed': did you mean 'seed'?\n"
  assert not (tmp_path / "run").exists()
