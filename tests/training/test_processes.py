"""Several processes are one run: its numbers, its one record, and its end when one of them is lost."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rl_jax import train
from rl_jax.launching import processes
from rl_jax.launching.stop import Stop
from rl_jax.runs.metrics import read_metrics
from rl_jax.training import held_out
from tests import commands, compilation


def refused(*flags: str, capsys) -> str:
  assert train.main(["--config=experiments/grpo.py:smoke", "--workdir=nowhere", *flags]) == 1
  (line,) = capsys.readouterr().err.splitlines()
  return line.removeprefix("rl_jax.train: ")


@pytest.mark.parametrize(
  "flags",
  [
    ["--coordinator=localhost:1"],
    ["--num_processes=2", "--process_id=0"],
    ["--distributed", "--coordinator=localhost:1", "--num_processes=2", "--process_id=0"],
  ],
)
def test_flags_that_do_not_go_together_are_named(flags, capsys):
  assert "go together, and without --distributed" in refused(*flags, capsys=capsys)


def test_a_process_that_is_not_among_them_is_named(capsys):
  told = refused("--coordinator=localhost:1", "--num_processes=2", "--process_id=2", capsys=capsys)
  assert told == "--process_id=2 is not one of --num_processes=2"


def test_where_no_cluster_is_known_it_says_what_to_do(monkeypatch, capsys):
  def nothing_found(*_, **__):
    raise ValueError("coordinator_address should be defined.")

  monkeypatch.setattr(processes.jax.distributed, "initialize", nothing_found)
  assert "say --coordinator=HOST:PORT --num_processes=N --process_id=I" in refused("--distributed", capsys=capsys)


def test_alone_a_process_agrees_with_itself():
  stop = Stop()
  assert processes.first() and not processes.several() and processes.largest(3) == 3 and stop.check() is None
  stop.listen()
  signal.raise_signal(signal.SIGTERM)
  assert stop.check() == stop.requested == signal.SIGTERM


@pytest.mark.parametrize("rows", [0, 1, 4, 5])
def test_every_row_has_one_process_that_verifies_it(rows, monkeypatch):
  monkeypatch.setattr(held_out.jax, "process_count", lambda: 2)
  shares = []
  for index in range(2):
    monkeypatch.setattr(held_out.jax, "process_index", lambda index=index: index)
    shares.append(held_out._share(rows))
  assert len({len(share) for share in shares}) == 1, "all processes give as many verdicts"
  np.testing.assert_array_equal(np.concatenate(shares)[:rows], np.arange(rows))


# What follows starts two processes on this machine, and takes minutes.

SECONDS = processes.LOST_SECONDS + 30
"""After the loss of one process the other has ended."""
ITERATIONS = 8


def arguments(workdir: Path, *more: str) -> list[str]:
  return commands.flags(
    "experiments/grpo.py:smoke",
    workdir,
    *commands.SMALL,
    f"num_iterations={ITERATIONS}",
    "num_seeds=1",
    "logging.every_iterations=1",
    "checkpoint.every_iterations=2",
    "checkpoint.keep=9",
    "evaluation.every_iterations=4",
    "evaluation.greedy=False",
    *more,
  )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
  return commands.shared_cache(tmp_path_factory)


def begin(given: list[str], cache: Path, victim: tuple[int, int] | None = None) -> list[subprocess.Popen]:
  """Two processes of one device each. `victim`: which of them kills itself after which iteration."""
  with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
  begun = []
  for index in range(2):
    flags = [*given, f"--coordinator=localhost:{port}", "--num_processes=2", f"--process_id={index}"]
    plain = [sys.executable, "-m", "rl_jax.train"]
    if victim is not None and victim[0] == index:
      plain = [sys.executable, "-c", commands.INTERRUPTED, "metrics", "/run", str(victim[1]), str(int(signal.SIGKILL))]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    begun.append(subprocess.Popen([*plain, *flags], cwd=commands.ROOT, env=commands.environment(cache), **pipes))
  return begun


def ended(begun: list[subprocess.Popen], seconds: float = 300) -> list[tuple[int, str]]:
  """Exit status and stderr of each."""
  told = []
  try:
    for one in begun:
      _, errors = one.communicate(timeout=seconds)
      told.append((one.returncode, errors))
  finally:
    for one in begun:
      one.kill()
  return told


@pytest.fixture(scope="module")
def alone(cache, tmp_path_factory):
  """The run in one process that has both devices."""

  def make(folder):
    devices = commands.environment(cache, XLA_FLAGS=compilation.devices(2))
    done = commands.train(arguments(folder / "run"), cache, env=devices)
    assert done.returncode == 0, done.stderr

  return commands.once(tmp_path_factory, "one_process", make) / "run"


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_one_is_lost_and_the_run_goes_on(victim, alone, cache, tmp_path):
  """The other ends in time and says how to go on. Then, in as many processes, the run ends as that in one process with
  the same two devices, to the bit; and in one process with one device, to 1e-4."""
  run = tmp_path / "run"
  begun = begin(arguments(run), cache, victim=(victim, 5))
  begun[victim].wait(timeout=300)
  since = time.monotonic()
  told = ended(begun, SECONDS)
  assert time.monotonic() - since < SECONDS
  assert told[victim][0] == -signal.SIGKILL
  status, errors = told[1 - victim]
  assert status != 0
  assert "another process was lost" in errors or "another task died" in errors, errors
  saved = commands.steps(run)[-1]
  assert saved in (2, 4), "the newest, or the one before where it was still being written"
  shutil.copytree(run, tmp_path / "fewer" / "run")
  shutil.copytree(tmp_path / "stages", tmp_path / "fewer" / "stages")

  (first, told), (second, silent) = ended(begin(arguments(run), cache))
  assert (first, second) == (0, 0), told + silent
  assert f"resuming from iteration {saved}" in told and "iteration" not in silent
  commands.assert_same_end(run, alone)
  assert len(list((run / "checkpoints").iterdir())) == len(commands.steps(run)), "nothing is left half written"

  fewer = commands.train(arguments(tmp_path / "fewer" / "run"), cache)
  assert fewer.returncode == 0, fewer.stderr
  lines = [list(read_metrics(folder / "metrics.jsonl")) for folder in (tmp_path / "fewer" / "run", run)]
  for here, there in zip(*lines, strict=True):
    assert here.keys() == there.keys()
    for name in here:
      if name != "kind":
        np.testing.assert_allclose(here[name], there[name], rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_a_signal_to_one_stops_all_at_the_same_iteration(cache, tmp_path):
  run = tmp_path / "run"
  begun = begin(arguments(run, "num_iterations=100000", "checkpoint.every_iterations=100000"), cache)
  while not (run / "metrics.jsonl").exists() or len((run / "metrics.jsonl").read_text().splitlines()) < 3:
    assert all(one.poll() is None for one in begun), ended(begun)
    time.sleep(0.1)
  begun[1].send_signal(signal.SIGTERM)
  (first, told), (second, _) = ended(begun)
  assert first == second == 128 + signal.SIGTERM, told
  (step,) = commands.steps(run)
  assert f"SIGTERM: saved at iteration {step}; resume with:" in told


@pytest.mark.slow
def test_a_folder_of_another_run_ends_both(cache, tmp_path):
  (tmp_path / "run").mkdir()
  (tmp_path / "run" / "thesis.tex").touch()
  (first, told), (second, other) = ended(begin(arguments(tmp_path / "run"), cache))
  assert first != 0 and second != 0
  assert "is not empty and holds no run" in told


@pytest.mark.slow
def test_verdicts_of_python_are_shared(cache, tmp_path, monkeypatch):
  """A task that is scored in Python: each process scores half of the rows, and the numbers are those of one."""
  problems = "".join(f'{{"question": "{i}+1=", "answer": "{i + 1}"}}\n' for i in range(60))
  (tmp_path / "sums.jsonl").write_text(problems)
  task = Path(__file__).parent / "byte_task.py"
  (tmp_path / "sums.py").write_text(SUMS.format(task=task, file=tmp_path / "sums.jsonl"))
  monkeypatch.setenv("RL_JAX_CACHE", str(tmp_path / "cache"))
  (first, told), (second, other) = ended(begin(sums(tmp_path, "two"), cache))
  assert (first, second) == (0, 0), told + other
  devices = commands.environment(cache, XLA_FLAGS=compilation.devices(2))
  done = commands.train(sums(tmp_path, "one"), cache, env=devices)
  assert done.returncode == 0, done.stderr
  commands.assert_same_end(tmp_path / "two" / "run", tmp_path / "one" / "run")


SUMS = """
from ml_collections import config_dict

from rl_jax.experiments import grpo


def get_config():
  config = grpo.get_config("smoke")
  config.task = config_dict.ConfigDict({{
    "name": "{task}", "file": "{file}", "workers": 1, "verifier": "tests.training.even_verifier:even"
  }})
  config.stages = config_dict.ConfigDict()
  config.init_from = ""
  return config
"""


def sums(folder: Path, name: str) -> list[str]:
  """The same command for another task, without what is said of the first one's."""
  _, *said = arguments(folder / name / "run")
  return [f"--config={folder / 'sums.py'}", *(flag for flag in said if "task." not in flag and "stages." not in flag)]
