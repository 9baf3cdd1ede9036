"""Trackers: what each is told, in its own calls; failures; launches that continue. With the packages where they are."""

from __future__ import annotations

import math
import sys
from types import ModuleType, SimpleNamespace

import pytest

from rl_jax.configuration import configs
from rl_jax.configuration.description import chosen, described
from rl_jax.errors import UserError
from rl_jax.runs.directory import open_run
from rl_jax.runs.files import read_json
from rl_jax.runs.metrics import MetricsWriter
from rl_jax.runs.trackers import group
from rl_jax.runs.trackers.group import Trackers

CONFIG = {"seed": 0, "method": {"name": "grpo"}, "levels": {}, **{f"field_{i}": i for i in range(120)}}


class Calls(list):
  """Calls of functions that a fake package has, in order."""

  def of(self, name, result=None):
    def call(*args, **named):
      self.append((name, args, named))
      return result(*args, **named) if callable(result) else result

    return call


def fake_wandb(calls):
  def init(**named):
    calls.append(("init", (), named))
    return SimpleNamespace(id=named["id"], **{n: calls.of(n) for n in ("define_metric", "log", "finish")})

  return {"wandb": {"init": init, "Settings": dict}}


def fake_trackio(calls):
  def init(**named):
    calls.append(("init", (), named))
    return SimpleNamespace(name=named["name"], log=calls.of("log"), finish=calls.of("finish"))

  return {"trackio": {"init": init}}


def fake_mlflow(calls):
  client = SimpleNamespace(
    get_experiment_by_name=calls.of("get_experiment_by_name"),
    create_experiment=calls.of("create_experiment", "7"),
    create_run=calls.of("create_run", SimpleNamespace(info=SimpleNamespace(run_id="abc"))),
    **{name: calls.of(name) for name in ("log_batch", "set_terminated", "update_run")},
  )
  entities = {"Metric": lambda *a: (a[0], a[1], a[3]), "Param": lambda *a: a}
  return {"mlflow": {"MlflowClient": lambda: client}, "mlflow.entities": entities}


FAKES = {"wandb": fake_wandb, "trackio": fake_trackio, "mlflow": fake_mlflow}


@pytest.fixture
def calls(monkeypatch):
  """Calls of all three packages, faked."""
  made = Calls()
  for variable in ("WANDB_PROJECT", "TRACKIO_PROJECT", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
    monkeypatch.delenv(variable, raising=False)
  for variable in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
    monkeypatch.setenv(variable, "1")
  for fake in FAKES.values():
    for name, attributes in fake(made).items():
      module = ModuleType(name)
      vars(module).update(attributes)
      monkeypatch.setitem(sys.modules, name, module)
  return made


def launch(folder, names, said=None, first=1):
  """A launch that writes two iterations: trackers, and the names of the values that they are told."""
  trackers = Trackers(names, (said if said is not None else []).append)
  with open_run(folder, {}, "a", {}) as directory:
    trackers.open("grpo", directory.trackers, CONFIG)
    writer = MetricsWriter(directory, tensorboard=False, trackers=trackers)
    writer.write("train", first, {"reward": [0.0, 1.0], "reward/easy+": [math.nan, 1.0]})
    writer.write("train", first + 1, {"reward": [1.0, 1.0]})
    writer.write_timings(first + 1, {"seconds": 2})
  return trackers


HALF = {"train/reward": 0.5, "train/reward_spread": math.sqrt(0.5)}


def named(calls, name):
  return [(args, named) for called, args, named in calls if called == name]


def test_wandb_is_told_means_and_spreads_over_the_axis_of_iterations(calls, tmp_path):
  launch(tmp_path / "run", ("wandb",)).close(finished=True)
  logged = [args[0] for args, _ in named(calls, "log")]
  assert logged[0] == pytest.approx({**HALF, "iteration": 1})
  assert logged[1:] == [
    {"train/reward": 1.0, "train/reward_spread": 0.0, "iteration": 2},
    {"timings/seconds": 2.0, "iteration": 2},
  ]
  assert named(calls, "define_metric") == [(("iteration",), {}), (("*",), {"step_metric": "iteration"})]
  ((_, init),) = named(calls, "init")
  assert (init["project"], init["name"], init["resume"], init["config"]) == ("rl_jax", "grpo", "allow", CONFIG)
  assert init["dir"] == str(tmp_path / "run" / "trackers") and init["settings"]["console"] == "off"
  assert named(calls, "finish") == [((), {"exit_code": 0})]


def test_trackio_is_told_values_at_steps(calls, tmp_path):
  launch(tmp_path / "run", ("trackio",)).close(finished=False)
  assert [(args[0].keys(), given) for args, given in named(calls, "log")] == [
    (HALF.keys(), {"step": 1}),
    (HALF.keys(), {"step": 2}),
    ({"timings/seconds"}, {"step": 2}),
  ]
  ((_, init),) = named(calls, "init")
  assert init["name"].startswith("grpo-") and init["config"] == CONFIG and named(calls, "finish")


def test_mlflow_is_told_parameters_once_and_metrics_in_its_characters(calls, tmp_path):
  launch(tmp_path / "run", ("mlflow",)).close(finished=False)
  batches = [given for _, given in named(calls, "log_batch")]
  params = [param for batch in batches for param in batch.get("params", ())]
  assert len(params) == 123 and ("method.name", "grpo") in params
  assert max(len(batch.get("params", ())) for batch in batches) == 100
  metrics = [metric for batch in batches for metric in batch.get("metrics", ())]
  assert metrics == [
    ("train/reward", 0.5, 1),
    ("train/reward_spread", pytest.approx(math.sqrt(0.5)), 1),
    ("train/reward", 1.0, 2),
    ("train/reward_spread", 0.0, 2),
    ("timings/seconds", 2.0, 2),
  ]
  assert named(calls, "set_terminated") == [(("abc", "KILLED"), {})]
  calls.clear()
  launch(tmp_path / "run", ("mlflow",)).write({"train/reward/a+b": 1.0}, 5)
  assert named(calls, "update_run") == [(("abc",), {"status": "RUNNING"})] and not named(calls, "create_run")
  assert named(calls, "log_batch")[-1][1]["metrics"] == [("train/reward/a_b", 1.0, 5)]


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_later_launch_continues_the_run_and_another_run_begins_its_own(calls, name, tmp_path):
  key = {"wandb": "id", "trackio": "name"}[name]
  for folder in ("run", "run", "other"):
    launch(tmp_path / folder, (name,)).close(finished=False)
  first, second, other = (given[key] for _, given in named(calls, "init"))
  assert first == second != other
  assert read_json(tmp_path / "run" / "trackers" / "ids.json") == {name: first}


def test_a_project_is_that_of_the_trackers_own_variables(calls, tmp_path, monkeypatch):
  monkeypatch.setenv("WANDB_PROJECT", "mine")
  monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "12")
  launch(tmp_path / "run", ("wandb", "mlflow"))
  assert named(calls, "init")[0][1]["project"] == "mine" and named(calls, "create_run")[0][0] == ("12",)


@pytest.mark.parametrize("where", ["init", "log", "finish"])
def test_a_failing_tracker_is_one_line_and_others_go_on(calls, where, tmp_path, monkeypatch):
  def fail(*args, **named):
    raise ConnectionError("no route\nto host")

  run = SimpleNamespace(id="x", **{n: lambda *a, **k: None for n in ("define_metric", "log", "finish")})
  setattr(run, where, fail)
  monkeypatch.setattr(sys.modules["wandb"], "init", fail if where == "init" else lambda **named: run)
  said = []
  launch(tmp_path / "run", ("wandb", "trackio"), said).close(finished=True)
  assert said == ["tracker wandb has failed, and the run goes on without it (ConnectionError: no route; to host)"]
  assert len(named(calls, "log")) == 3 and named(calls, "finish")


def test_a_tracker_that_asks_to_end_the_program_ends_alone(calls, tmp_path, monkeypatch):
  monkeypatch.setattr(sys.modules["wandb"], "init", lambda **named: sys.exit("no account"))
  said = []
  launch(tmp_path / "run", ("wandb",), said).close(finished=True)
  (line,) = said
  assert line.startswith("tracker wandb has failed, and the run goes on without it (SystemExit: no account")


def test_a_run_without_trackers_has_no_folder_of_theirs(tmp_path):
  launch(tmp_path / "run", ()).close(finished=True)
  assert not (tmp_path / "run" / "trackers").exists()


def test_a_run_that_leaves_its_folder_takes_the_trackers_files_along(calls, tmp_path):
  with open_run(tmp_path / "run", {}, "a", {}) as directory:
    Trackers(("wandb",)).open("run", directory.trackers, CONFIG)
    (directory.trackers / "wandb").mkdir()
    directory.leave()
  assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize(
  "names, expected",
  [
    (("wandbb",), "logging.trackers: got 'wandbb', want some of mlflow, trackio, wandb"),
    (("trackio", "trackio"), "logging.trackers: 'trackio' is there twice"),
    (("wandb",), "logging.trackers: 'wandb' cannot be imported ("),
  ],
)
def test_trackers_that_cannot_be_are_one_line_before_the_run(calls, names, expected, monkeypatch):
  monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
  with pytest.raises(UserError) as refused:
    group.check(names)
  assert str(refused.value).startswith(expected)
  assert "\n" not in str(refused.value)
  assert names != ("wandb",) or str(refused.value).endswith("): pip install 'rl-jax[wandb]', or leave it out")


def test_the_field_takes_bare_words_and_is_explained():
  config = configs.resolve("grpo", ["logging.trackers=wandb,mlflow"])
  assert config.logging.trackers == ("wandb", "mlflow")
  assert configs.identity(config) == configs.identity(configs.resolve("grpo"))
  (line,) = chosen(described(config), "logging.trackers")
  assert "('wandb', 'mlflow')" in line and "MLFLOW_TRACKING_URI" in line


def test_wandb_itself_offline(tmp_path, monkeypatch):
  pytest.importorskip("wandb")
  monkeypatch.setenv("WANDB_MODE", "offline")
  said = []
  for first in (1, 2):
    launch(tmp_path / "run", ("wandb",), said, first).close(finished=True)
  files = list((tmp_path / "run" / "trackers" / "wandb").rglob("*.wandb"))
  assert said == [] and len(files) == 2 and len({path.stem for path in files}) == 1
  assert all(b"train/reward_spread" in path.read_bytes() for path in files)


def test_mlflow_itself_in_files(tmp_path, monkeypatch):
  mlflow = pytest.importorskip("mlflow")
  monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
  mlflow.set_tracking_uri(f"file:{tmp_path}/store")
  said = []
  for first in (1, 2):
    launch(tmp_path / "run", ("mlflow",), said, first).close(finished=True)
  client = mlflow.MlflowClient()
  (run,) = client.search_runs([client.get_experiment_by_name("rl_jax").experiment_id])
  history = client.get_metric_history(run.info.run_id, "train/reward")
  assert said == [] and (run.info.status, run.info.run_name, run.data.params["method.name"]) == (
    "FINISHED",
    "grpo",
    "grpo",
  )
  assert [(m.step, m.value) for m in history] == [(1, 0.5), (2, 1.0), (2, 0.5), (3, 1.0)]


def test_trackio_itself_on_this_machine(tmp_path, monkeypatch):
  monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
  trackio = pytest.importorskip("trackio")
  said = []
  for first in (1, 2):
    launch(tmp_path / "run", ("trackio",), said, first).close(finished=True)
  (run,) = trackio.Api().runs("rl_jax")
  logs = trackio.sqlite_storage.SQLiteStorage.get_logs("rl_jax", run.name)
  steps = [(row["step"], row["train/reward"]) for row in logs if "train/reward" in row]
  assert said == [] and steps == [(1, 0.5), (2, 1.0), (2, 0.5), (3, 1.0)]
