"""What a launch leaves behind: starts and their cache, records, faults of a disk, updates left out."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.launching import initialization, launch
from rl_jax.launching.launch import Terminal
from rl_jax.launching.stop import Stop
from rl_jax.runs.directory import open_run
from rl_jax.runs.metrics import read_metrics
from rl_jax.training import mesh
from rl_jax.training.trainer import Trainer
from tests import commands

NAN = Path(__file__).parent / "nan_method.py"
TRACKER = """
import pathlib, types

def init(**named):
  def log(values):
    with (pathlib.Path(named["dir"]) / "iterations.txt").open("a") as file:
      print(values["iteration"], file=file)
    if values["iteration"] == 2:
      raise ConnectionError("no route")
  nothing = lambda *arguments, **named: None
  return types.SimpleNamespace(id=named["id"], log=log, define_metric=nothing, finish=nothing)

Settings = dict
"""
"""Source of a stand-in for the package wandb that fails at the second iteration."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
  return commands.shared_cache(tmp_path_factory)


def warm(method: str, workdir: Path, *overrides: str) -> list[str]:
  small = [o for o in commands.SMALL if not o.startswith(("logging.tensorboard", "logging.report"))]
  config = f"experiments/{method}.py:smoke"
  return commands.flags(config, workdir, *small, "num_iterations=2", "evaluation.greedy=False", *overrides)


@pytest.fixture(scope="module")
def warmed(cache, tmp_path_factory):
  """A folder with a run of GRPO and its stage, and what was said on the way."""

  def make(folder):
    (folder / "packages").mkdir()
    (folder / "packages" / "wandb.py").write_text(TRACKER)
    environment = commands.environment(cache, PYTHONPATH=f"{folder / 'packages'}{os.pathsep}{commands.ROOT}")
    arguments = warm("grpo", folder / "grpo", "logging.profile_iteration=1", "logging.trackers=wandb")
    done = commands.train(arguments, cache, env=environment)
    assert done.returncode == 0, done.stderr
    (folder / "grpo.txt").write_text(done.stderr)

  folder = commands.once(tmp_path_factory, "warmed", make)
  return folder, (folder / "grpo.txt").read_text()


def started(folder: Path, method: str):
  """Config and start of an experiment in that folder, and what was said on the way."""
  overrides = [a.removeprefix("--config.") for a in warm(method, folder)[2:]]
  config, said = configs.resolve(f"experiments/{method}.py:smoke", overrides), io.StringIO()
  train = lambda stage, workdir: launch.train(stage, workdir, Terminal(["test"], said, Stop()), is_stage=True)
  return config, initialization.find(initialization.build(config), folder / method, train)["policy"], said.getvalue()


@pytest.mark.integration
def test_experiments_share_a_warm_start_and_begin_with_it(warmed):
  folder, first = warmed
  (stage,) = (folder / "stages").iterdir()
  manifest = stage / "checkpoints" / "80" / "manifest.json"
  sha256 = hashlib.sha256(manifest.read_bytes()).hexdigest()
  (entry,) = json.loads((folder / "grpo" / "manifest.json").read_text())["launches"]
  assert (entry["started_from"], entry["start_sha256"]) == (str(stage), sha256)
  _, start, second = started(folder, "rloo")
  assert (start.origin, start.sha256) == (str(stage), sha256)
  assert f"starts from {stage}" not in first
  assert second == f"starts from {stage} (80 iterations)\n", "no report is made again"


@pytest.mark.integration
def test_the_policy_begins_with_the_parameters_of_its_start_to_the_bit(warmed):
  folder, _ = warmed
  stage = commands.arrays(next((folder / "stages").iterdir()))
  config, start, _ = started(folder, "grpo")
  begun = (
    Trainer(initialization.build(config), mesh.make_mesh(config.mesh), {"policy": start.params})
    .state.seeds.models["policy"]
    .params
  )
  flat = {f"seeds/models/policy/params/{k}": v for k, v in _flat(begun).items()}
  assert len(flat) > 5
  for name, leaf in flat.items():
    for seed in range(config.num_seeds):
      np.testing.assert_array_equal(np.asarray(leaf)[seed], stage[name][0], err_msg=name)


def _flat(tree, prefix=""):
  found = {}
  for key, value in tree.items():
    found |= _flat(value, f"{prefix}{key}/") if isinstance(value, dict) else {prefix + key: value}
  return found


@pytest.mark.integration
def test_a_launch_leaves_its_record(warmed):
  folder, first = warmed
  run = folder / "grpo"
  for name in (
    "report.html",
    "report.png",
    "config.json",
    "manifest.json",
    "method.py",
    "metrics.jsonl",
    "timings.jsonl",
  ):
    assert (run / name).stat().st_size > 0, name
  assert (run / "method.py").read_text() == Path("rl_jax/methods/grpo.py").read_text()
  assert any(path.name.startswith("events") for path in (run / "tensorboard").iterdir())
  traces = [path for path in (run / "profile").rglob("*") if path.is_file()]
  assert traces and f"profile: {run / 'profile'}" in first
  kinds = [line["kind"] for line in read_metrics(run / "metrics.jsonl")]
  assert kinds == ["evaluation", "train", "train", "evaluation"]


@pytest.mark.integration
def test_a_tracker_that_fails_is_dropped_by_the_stage_and_by_the_run_with_a_line_each(warmed):
  folder, first = warmed
  dropped = "tracker wandb has failed, and the run goes on without it (ConnectionError: no route)"
  assert first.count(dropped) == 2
  told = [int(line) for line in (folder / "grpo" / "trackers" / "iterations.txt").read_text().split()]
  assert told[0] == 0 and told[-1] == 2 and told.count(2) == 1
  assert json.loads((folder / "grpo" / "trackers" / "ids.json").read_text()).keys() == {"wandb"}


@pytest.mark.integration
@pytest.mark.parametrize(
  "start, expected",
  [
    ("{folder}/nothing", "nothing does not exist: give the --workdir of a run"),
    ("{folder}/grpo@0123abcd", "is not the start asked for: its checkpoint has hash"),
    ("elsewhere", "'elsewhere' is neither a stage of this config (critic, warm_start) nor the folder of a run"),
    ("wide", "embedding is float32[2,{words},8] there, float32[2,{words},16] here"),
  ],
)
def test_a_start_that_does_not_fit_is_refused(warmed, start, expected, tmp_path):
  folder, _ = warmed
  more = ["model.width=16"] if start == "wide" else []
  name = f"{folder}/grpo" if start == "wide" else start.format(folder=folder)
  overrides = [a.removeprefix("--config.") for a in warm("grpo", tmp_path / "run", f"init_from={name}", *more)[2:]]
  with pytest.raises(Exception) as caught:
    launch.train(configs.resolve("experiments/grpo.py:smoke", overrides), tmp_path / "run", quiet())
  words = re.search(r"float32\[2,(\d+),", str(caught.value))
  assert expected.format(words=words and words[1]) in str(caught.value) and "\n" not in str(caught.value)
  assert isinstance(caught.value, UserError)


def quiet() -> Terminal:
  return Terminal(["test"], io.StringIO(), Stop())


def resolved(*overrides: str):
  return configs.resolve("experiments/grpo.py:smoke", [*commands.SMALL, *overrides])


def test_a_stage_is_known_by_what_makes_its_parameters():
  folder = lambda *overrides: initialization.stage_folder(resolved(*overrides), "warm_start", Path("runs/x"))
  base = folder()
  assert base.parent == Path("runs/stages") and base.name.startswith("warm_start-")
  for same in ("learning_rate=1.0", "num_iterations=40", "mesh.data=1", "checkpoint.keep=5", "num_seeds=7", "seed=4"):
    assert folder(same) == base, same
  for same in ("stages.warm_start.logging.samples=1", "stages.other.num_iterations=3", "logging.samples=3"):
    assert folder(same) == base, same
  for other in ("stages.warm_start.num_iterations=8", "model.width=16", "stages.warm_start.learning_rate=1.0"):
    assert folder(other) != base, other
  constant = "stages.warm_start.optimizer.schedule=constant"
  assert folder(constant, "stages.warm_start.num_iterations=8") != folder(constant)


def test_identity_leaves_out_mesh_checkpoints_and_logging_also_of_stages():
  identity = lambda *overrides: configs.identity(resolved(*overrides))[0]
  base = identity()
  for same in ("mesh.data=4", "checkpoint.keep=9", "logging.samples=1", "num_iterations=90"):
    assert identity(same) == base, same
  assert identity("stages.warm_start.logging.every_iterations=1") == base
  assert identity("stages.warm_start.num_iterations=90") != base
  cosine = "optimizer.schedule=cosine"
  assert identity(cosine, "num_iterations=90") != identity(cosine)


@pytest.mark.parametrize(
  "override, expected",
  [
    ("sampling.top_p=0.0", "sampling.top_p: want a finite number above 0 and at most 1, got 0.0"),
    ("evaluation.pass_at=(3,)", "evaluation.pass_at[0]: want at most evaluation.samples_per_prompt (2), got 3"),
    (
      "checkpoint.every_iterations=3",
      "checkpoint.every_iterations (3) is not a multiple of logging.every_iterations (2)",
    ),
    (
      "evaluation.every_iterations=3",
      "evaluation.every_iterations (3) is not a multiple of logging.every_iterations (2)",
    ),
    ("num_iterations=1", "num_iterations (1) is not a multiple of logging.every_iterations (2): 2 would do"),
    ("num_iterations=5", "num_iterations (5) is not a multiple of logging.every_iterations (2): 4 or 6 would do"),
    (
      "minibatches_per_epoch=3",
      "rows of an iteration (8) is not a multiple of minibatches_per_epoch (3): minibatches_per_epoch=2 would do",
    ),
    ("num_seeds=0", "num_seeds: want a whole number at least 1, got 0"),
    ("prompts_per_iteration=0", "prompts_per_iteration: want a whole number at least 1, got 0"),
    ("sampling.temperature=0.0", "temperature"),
    ("learning_rate=nan", "learning_rate: want a finite number, got nan"),
    ("learning_rate=1e39", "learning_rate: want a finite number, got 1e+39"),
    ("learning_rates=(1.0,1e39)", "learning_rates[1]: want a finite number, got 1e+39"),
    ("method.kl_coefficient=inf", "method.kl_coefficient: want a finite number, got inf"),
    ("stages.warm_start.learning_rate=nan", "stages.warm_start.learning_rate: want a finite number, got nan"),
    ("optimizer.schedule=step", "optimizer.schedule is one of constant, linear, cosine, got 'step'"),
  ],
)
def test_fields_that_make_no_sense_are_refused_before_anything_is_trained(override, expected, tmp_path):
  with pytest.raises(UserError) as caught:
    launch.train(resolved(override), tmp_path / "run", quiet())
  assert expected in str(caught.value) and "\n" not in str(caught.value)
  assert not (tmp_path / "stages").exists()


def test_a_cadence_that_the_checkpoint_does_not_fit_is_refused(tmp_path, monkeypatch):
  """Else the run would step over its end, and over every checkpoint on the way."""
  monkeypatch.setattr(launch.Checkpoints, "newest_intact", lambda self: 3)
  with pytest.raises(UserError, match=r"of iteration 3, which is not a multiple of logging.every_iterations \(2\): 1"):
    launch.train(resolved("init_from="), tmp_path / "run", quiet())


def test_a_length_that_the_schedule_depends_on_cannot_change(tmp_path):
  cosine = ("init_from=", "optimizer.schedule=cosine")
  with open_run(tmp_path / "run", {}, *configs.identity(resolved(*cosine, "num_iterations=4"))) as directory:
    directory.metrics.write_text('{"kind": "train", "iteration": 1}\n')
  with pytest.raises(UserError, match=r"num_iterations \(optimizer.schedule='cosine' ends with it\): 4 there, 6 here"):
    launch.train(resolved(*cosine, "num_iterations=6"), tmp_path / "run", quiet())


def test_one_process_at_a_time(tmp_path):
  config = resolved("init_from=")
  identity, fields = configs.identity(config)
  with open_run(tmp_path / "run", {}, identity, fields):
    with pytest.raises(Exception, match=r"is being written by another process \(process \d+"):
      launch.train(config, tmp_path / "run", quiet())


@pytest.mark.integration
def test_finding_3_faulty_updates_are_left_out_counted_and_end_the_run_at_its_last_good_checkpoint(cache, tmp_path):
  run = tmp_path / "run"
  arguments = commands.flags(
    "experiments/grpo.py:smoke", run, *commands.SMALL, f"method.name={NAN}", "method.kl_coefficient=0.0", "init_from=",
    "num_iterations=9", "logging.every_iterations=1", "checkpoint.every_iterations=2", "evaluation.every_iterations=9",
    "evaluation.greedy=False", "optimizer.max_skipped_updates=3", "checkpoint.keep=9", "seed=3",
  )  # fmt: skip
  done = commands.train(arguments, cache)
  line = commands.one_line(done)
  assert line.startswith(
    "iteration 5: loss, gradient or updated parameters were not finite in the last 3 or more updates of seed 3, 4; "
    f"iteration 2 was the last good one, checkpoint 2 in {run / 'checkpoints'} is the newest: "
  )
  assert "skipped updates 3 in a row" in done.stderr
  train = [m for m in read_metrics(run / "metrics.jsonl") if m["kind"] == "train"]
  assert [m["skipped_updates"] for m in train] == [[0, 0], [0, 0], [1, 1], [1, 1], [1, 1]]
  assert commands.steps(run) == [2], "nothing is saved or removed while updates are left out"


@pytest.mark.slow
@pytest.mark.integration
def test_a_full_disk_ends_the_run_with_the_newest_good_checkpoint_named_and_is_mended(cache, tmp_path):
  """A limit on the size of files, which checkpoints hit, metrics do not; without it the run goes on from there."""
  run = tmp_path / "run"
  arguments = commands.flags(
    "experiments/grpo.py:smoke", run, *commands.SMALL, "init_from=", "logging.every_iterations=1", "num_iterations=4",
    "evaluation.greedy=False", "evaluation.every_iterations=4",
  )  # fmt: skip
  line = commands.one_line(commands.interrupted(arguments, cache, "checkpoint", 2, signal.SIGXFSZ))
  assert (
    "could not save checkpoint 4" in line and "the newest good checkpoint is 2" in line and "File too large" in line
  )
  assert commands.steps(run) == [2]
  done = commands.train(arguments, cache)
  assert done.returncode == 0 and "resuming from iteration 2" in done.stderr and commands.steps(run) == [2, 4]
