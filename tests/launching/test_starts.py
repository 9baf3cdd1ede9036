"""What a start leaves and waits for: stages that two runs need, runs that are done, cadences of 0."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
import types
from pathlib import Path

import jax
import pytest

from rl_jax import train
from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.launching import initialization, launch
from rl_jax.launching.launch import Terminal
from rl_jax.launching.loop import RunLoop
from rl_jax.launching.stop import Stop
from rl_jax.runs.metrics import read_metrics
from rl_jax.training import credit, evaluation
from tests import commands
from tests.training import small

HOLD = """
import sys, time
from rl_jax.runs.directory import open_run
run = open_run(sys.argv[1], {}, sys.argv[2], {})
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
  """A run of four iterations from a stage, by a command whose cadences are 0, and what it said."""
  folder, flags = tmp_path_factory.mktemp("starts"), []
  for override in (
    *(o for o in commands.SMALL if not o.startswith("logging")), "logging.tensorboard=False", "logging.samples=0",
    "evaluation.every_iterations=0", "checkpoint.every_iterations=0",
  ):  # fmt: skip
    flags.append(f"--config.{override}")
  return folder, ["grpo:smoke", f"--workdir={folder / 'run'}", *flags]


def lines_of(capsys, arguments: list[str]) -> list[str]:
  assert train.main(arguments) == 0
  return capsys.readouterr().err.splitlines()


def contents(folder: Path) -> dict[str, bytes]:
  files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
  return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.integration
def test_a_cadence_of_0_is_never(done, capsys):
  """Finding 11. The run says that it compiles before it does (19)."""
  folder, arguments = done
  said = lines_of(capsys, arguments)
  run = folder / "run"
  assert commands.steps(run) == [4] and (run / "report.html").exists()
  assert {line["kind"] for line in read_metrics(run / "metrics.jsonl")} == {"train"}
  (stage,) = (folder / "stages").iterdir()
  assert said.index(f"{stage}: cpu x1, compiling …") < said.index(f"{run}: cpu x1, compiling …")
  assert sum(line.startswith("compiled in ") for line in said) == 2 and "sample" not in said[-2]


def test_a_frozen_model_that_starts_from_nothing_is_named():
  """Its parameters would be random for good; a reference takes the policy's, and a teacher those of a stage."""
  built = initialization.build(small.make_config("method.name=rl_jax.methods.opd", "method.kl_coefficient=0.1"))
  assert set(built.method.models) == {"policy", "reference", "teacher"}
  assert initialization.random_for_good(built, {}) == ["teacher"]
  start = initialization.Start({}, "stage", "", [])
  assert initialization.random_for_good(built, {"teacher": start}) == []


@pytest.mark.integration
def test_a_run_that_is_done_is_left_as_it_is(done, capsys):
  """Finding 21: also by a shorter num_iterations, and with other fields outside of the identity."""
  folder, arguments = done
  before = contents(folder)
  said = lines_of(capsys, [*arguments, "--config.num_iterations=2", "--config.checkpoint.keep=1"])
  assert said == [f"{folder / 'run'}: already finished (4 iterations); raise num_iterations to continue"]
  assert contents(folder) == before
  assert json.loads(before["run/config.json"])["num_iterations"] == 4


@pytest.mark.parametrize("metric, meant", [
  ("held_out/greedy_acuracy", "did you mean 'held_out/greedy_accuracy'?"),
  ("reward", "did you mean 'held_out/reward'?"),
])  # fmt: skip
def test_a_best_metric_that_no_evaluation_has_is_told_before_anything_is_compiled(metric, meant, tmp_path, capsys):
  assert train.main(["grpo:smoke", f"--workdir={tmp_path / 'run'}", f"--config.checkpoint.best_metric={metric}"]) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert f"checkpoint.best_metric='{metric}' is no metric of an evaluation" in line and meant in line


def test_a_best_metric_of_the_methods_own_evaluations_is_looked_for_at_the_first():
  of_loop = types.SimpleNamespace(config=configs.resolve("grpo:smoke", ["checkpoint.best_metric=judge/acuracy"]))
  RunLoop._check_best_metric(of_loop, {"held_out/reward"}, ["judge"])
  with pytest.raises(UserError, match="best_metric='judge/acuracy' is no metric of an evaluation: did you mean"):
    RunLoop._check_best_metric(of_loop, {"held_out/reward", "judge/accuracy"})


@pytest.mark.parametrize("overrides", [(), ("evaluation.credit_prompts=1", "evaluation.prompt_blocks=2")])
def test_names_of_an_evaluation_are_known_before_it_is_compiled(overrides):
  experiment = small.make_experiment("num_seeds=1", *overrides)
  seed, rooms = small.make_seed(experiment), (evaluation, credit) if overrides else (evaluation,)
  metrics = [jax.eval_shape(lambda room=room: room.evaluate_seed(experiment, seed, 0)) for room in rooms]
  assert evaluation.names(experiment) | credit.names(experiment) == {name for names in metrics for name in names}


@pytest.mark.parametrize("steps, saved", [([], "no checkpoint is saved"), ([2, 4], "iteration 4 is saved")])
def test_what_is_left_when_a_process_is_lost_is_true(steps, saved):
  checkpoints = types.SimpleNamespace(steps=lambda: steps)
  of_loop = types.SimpleNamespace(checkpoints=checkpoints, recorder=types.SimpleNamespace(command=["again"]))
  assert RunLoop._how_to_go_on(of_loop) == f"{saved}; resume with all processes: again"


@pytest.mark.integration
def test_a_run_waits_for_its_stage_and_goes_on_when_the_other_dies(done):
  """Finding 16."""
  folder, arguments = done
  (stage,) = (folder / "stages").iterdir()
  overrides = [argument.removeprefix("--config.") for argument in arguments[2:]]
  config = initialization.stage_config(configs.resolve("grpo:smoke", overrides), "warm_start")
  with subprocess.Popen([sys.executable, "-c", HOLD, str(stage), configs.identity(config)[0]],
                        stdout=subprocess.PIPE, text=True, cwd=commands.ROOT) as other:  # fmt: skip
    assert other.stdout.readline() == "held\n"
    end = threading.Timer(1.2, other.kill)
    end.start()
    stream = io.StringIO()
    result = launch.train(config, stage, Terminal(["test"], stream, Stop()), is_stage=True)
    end.join()
  waiting, starting = stream.getvalue().splitlines()
  assert result.finished and result.done_before
  assert waiting.startswith(f"{stage} is being trained by another process (process {other.pid} on ")
  assert waiting.endswith("waiting for it") and starting == f"starts from {stage} (80 iterations)"


def test_ctrl_c_ends_the_waiting(tmp_path):
  stop = Stop()
  stop.listen()
  wait = launch._wait_for(tmp_path, Terminal(["test"], io.StringIO(), stop))
  assert wait("process 1")
  signal.raise_signal(signal.SIGINT)
  with pytest.raises(KeyboardInterrupt):
    wait("process 1")
