"""A run that is cut off anywhere and started again by the same command ends as one that was left alone, bit for bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL

import pytest

from tests import commands

STATEFUL = Path(__file__).parent / "stateful_method.py"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
  return commands.shared_cache(tmp_path_factory)


def stateful(workdir: Path, iterations: int = 8) -> list[str]:
  """Two seeds of a method with states of its own, averaged parameters, epochs and minibatches."""
  return commands.flags(
    "experiments/grpo.py:smoke",
    workdir,
    *commands.SMALL,
    f"method.name={STATEFUL}",
    "method.kl_coefficient=0.01",
    "init_from=",
    f"num_iterations={iterations}",
    "num_seeds=2",
    "epochs=2",
    "minibatches_per_epoch=2",
    "optimizer.parameter_average=0.9",
    "logging.every_iterations=1",
    "evaluation.greedy=False",
    "checkpoint.keep_best=1",
    "evaluation.every_iterations=4",
  )


def ppo(workdir: Path, iterations: int = 4) -> list[str]:
  """One seed of PPO with a critic and a schedule, from a warm start."""
  return commands.flags(
    "experiments/ppo.py:smoke",
    workdir,
    *commands.SMALL,
    f"num_iterations={iterations}",
    "num_seeds=1",
    "optimizer.schedule=cosine",
    "evaluation.greedy=False",
  )


@pytest.fixture(scope="module")
def straight(cache, tmp_path_factory):
  def make(folder):
    done = commands.train(stateful(folder / "run"), cache)
    assert done.returncode == 0, done.stderr

  return commands.once(tmp_path_factory, "straight", make) / "run"


@pytest.mark.integration
def test_stopped_and_killed_again_and_again_it_ends_the_same(straight, cache, tmp_path):
  """Signals save and say how to go on; kills come while a checkpoint is written and when it has been."""
  run = tmp_path / "run"
  command = stateful(run)
  ends = [(SIGINT, "metrics", 1), (SIGKILL, "files", 4), (SIGHUP, "metrics", 5), (SIGKILL, "checkpoint", 6)]
  for number, point, step in ends:
    ended = commands.interrupted(command, cache, point, step, number)
    if number == SIGKILL:
      assert ended.returncode == -SIGKILL, ended.stderr
      assert (step in commands.steps(run)) == (point == "checkpoint"), "written, but not vouched for"
      with (run / "metrics.jsonl").open("ab") as metrics:
        metrics.write(b'{"kind": "train", "itera')  # a kill may come in the middle of a line
      continue
    assert ended.returncode == 128 + number, ended.stderr
    last = ended.stderr.strip().splitlines()[-2:]
    told = f"{number.name}: saved at iteration {step}; resume with: python -m rl_jax.train --config="
    assert any(line.startswith(told) for line in last), ended.stderr
    assert commands.steps(run)[-1] == step
  done = commands.train(command, cache)
  assert done.returncode == 0, done.stderr
  assert "resuming from iteration 6" in done.stderr
  commands.assert_same_end(straight, run)
  assert len(json.loads((run / "manifest.json").read_text())["launches"]) == len(ends) + 1


@pytest.mark.slow
@pytest.mark.integration
def test_more_iterations_go_on_from_the_checkpoint_before_a_damaged_one(straight, cache, tmp_path):
  run = tmp_path / "run"
  done = commands.train(stateful(run, iterations=4), cache)
  assert done.returncode == 0, done.stderr
  commands.flip_a_bit(run / "checkpoints" / "4" / "state")
  done = commands.train(stateful(run), cache)
  assert done.returncode == 0, done.stderr
  assert "checkpoint 4 is damaged" in done.stderr and "using checkpoint 2" in done.stderr
  assert "resuming from iteration 2" in done.stderr
  commands.assert_same_end(straight, run)


@pytest.mark.integration
def test_a_finished_run_says_so_and_is_left_as_it_is(straight, cache, tmp_path):
  run = tmp_path / "run"
  shutil.copytree(straight, run)
  done = commands.train(stateful(run), cache)
  assert done.returncode == 0, done.stderr
  assert "already finished (8 iterations); raise num_iterations to continue" in done.stderr
  commands.assert_same_end(straight, run)


@pytest.fixture(scope="module")
def straight_ppo(cache, tmp_path_factory):
  def make(folder):
    done = commands.train(ppo(folder / "run"), cache)
    assert done.returncode == 0, done.stderr

  return commands.once(tmp_path_factory, "ppo", make) / "run"


@pytest.mark.slow
@pytest.mark.integration
def test_killed_in_its_warm_start_it_ends_the_same(straight_ppo, cache, tmp_path):
  run = tmp_path / "run"
  for point, step, number, folder in (
    ("checkpoint", 20, SIGKILL, "stages"),
    ("metrics", 2, SIGKILL, "run"),
  ):
    killed = commands.interrupted(ppo(run), cache, point, step, number, folder)
    assert killed.returncode == -SIGKILL, killed.stderr
  done = commands.train(ppo(run), cache)
  assert done.returncode == 0, done.stderr
  commands.assert_same_end(straight_ppo, run)
  (stage,), (straight_stage,) = ((r.parent / "stages").iterdir() for r in (run, straight_ppo))
  commands.assert_same_end(straight_stage, stage)
