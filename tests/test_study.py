"""A study from its file to its table, and what it says of bad input."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from rl_jax import study
from rl_jax.configuration import configs
from rl_jax.experiments.studies import common
from rl_jax.launching import initialization, launch
from rl_jax.runs.metric_names import ACCURACY
from rl_jax.runs.study_results import Entry

ROOT = Path(__file__).parents[1]

STUDIES = sorted({path.stem for path in (ROOT / "experiments/studies").glob("*.py")} - {"__init__", "common"})

TINY = f"""
from ml_collections import ConfigDict

def get_config():
  return ConfigDict({{
    "token_budget": 300,
    "overrides": ("num_seeds=5", "num_iterations=40", "init_from=", "evaluation.greedy=False", "logging.samples=1"),
    "final_overrides": (),
    "tuning": {{"grid": {{"learning_rate": (1e-3,)}}, "overrides": ("num_seeds=2", "seed=50")}},
    "entries": {{"grpo": {{"config": "{ROOT}/experiments/grpo.py:smoke", "overrides": ()}}}},
    "baseline": "grpo",
    "metrics": ("held_out/sampled_accuracy",),
    "claims": {{}},
  }})
"""


@pytest.mark.slow
@pytest.mark.integration
def test_a_study_ends_with_a_table_and_is_not_done_twice(tmp_path, capsys, monkeypatch):
  file = tmp_path / "tiny.py"
  file.write_text(TINY)
  argv = [str(file), f"--workdir={tmp_path / 'runs'}", f"--results={tmp_path / 'results'}"]
  assert study.main(argv) == 0
  first = capsys.readouterr()
  assert "| grpo | learning_rate=0.001 | " in first.out
  assert not [*(tmp_path / "runs").glob("tuning*")], "one point needs no tuning"
  found = json.loads((tmp_path / "results/tiny.json").read_text())["entries"]["grpo"]
  assert len(found["tokens"][-1]) == 5 and min(found["tokens"][-1]) >= 300
  before = {path: path.read_bytes() for path in (tmp_path / "runs/grpo").rglob("*") if path.is_file()}
  (tmp_path / "results/tiny.md").unlink()
  monkeypatch.setattr(launch, "train", None)  # what is done is read
  assert study.main(argv) == 0
  assert (tmp_path / "results/tiny.md").exists()
  assert {path: path.read_bytes() for path in (tmp_path / "runs/grpo").rglob("*") if path.is_file()} == before


def test_studies_of_the_same_starts_share_their_runs():
  folder = lambda name, workdir=None: study.read_study(name, workdir, launch.Terminal([], io.StringIO(), None)).workdir
  assert folder("adora") == folder("canon") == Path("runs/studies/of_length")
  assert folder("copo") == Path("runs/studies/copo")
  assert folder("canon", Path("elsewhere")) == Path("elsewhere")


def test_entries_run_one_by_one_stand_on_one_page(tmp_path, capsys, monkeypatch):
  """The second keeps the first, in the study's order; --pages makes the same pages and runs nothing."""
  file = tmp_path / "two.py"
  file.write_text(TINY.replace('"entries": {', '"entries": {"other": {"config": "b.py", "overrides": ()}, '))
  curve = np.array([[0.0], [0.5]]) * np.ones(5)
  made = Entry(200 * curve * 2, {ACCURACY: curve}, {ACCURACY: [0.5] * 5}, 1.0, {"identity": "x"}, iterations=(0, 4))
  monkeypatch.setattr(study.Study, "entry", lambda self, name: made)
  argv = [str(file), f"--workdir={tmp_path / 'runs'}", f"--results={tmp_path / 'results'}"]
  for name in ("other", "grpo"):
    assert study.main([*argv, f"--only={name}"]) == 0
  page = (tmp_path / "results/two.md").read_text()
  assert page.index("| grpo |") < page.index("| other |")
  assert "study: entry 1 of 1, grpo" in capsys.readouterr().err
  monkeypatch.setattr(study.Study, "entry", None)
  assert study.main([*argv, "--pages"]) == 0
  assert list(json.loads((tmp_path / "results/two.json").read_text())["entries"]) == ["grpo", "other"]
  assert study.main([str(file), f"--results={tmp_path / 'none'}", "--pages"]) == 1
  assert "has no entry of two: run some first" in capsys.readouterr().err


def test_more_answers_at_the_end_are_asked_once_and_kept(tmp_path, monkeypatch):
  """Of four answers to each of two problems seed 0 has 1 and 4 right, seed 1 none and 2."""
  config = common.study(
    token_budget=9, entries={"grpo": {"config": "grpo:smoke", "overrides": ()}}, claims={}, baseline="grpo",
    final_samples=4,
  )  # fmt: skip
  asked = []

  def evaluate(config, workdir):
    asked.append((workdir.name, config.evaluation.samples_per_prompt, config.num_seeds))
    return {"evaluation_format": 1, "problems": {"correct": [[1, 4], [0, 2]]}}

  monkeypatch.setattr(study, "evaluate", evaluate)
  content = ["a" * 64]
  monkeypatch.setattr(study, "find_run", lambda folder: folder)
  monkeypatch.setattr(study, "content_sha256", lambda run: content[0])
  made = study.Study("s", config, tmp_path, launch.Terminal([], io.StringIO(), None), [])
  for _ in range(2):
    np.testing.assert_allclose(made.at_end("grpo", ["num_seeds=2"]), [[0.25, 1], [0, 0.5]])
  assert asked == [("grpo", 4, 2)]
  content[0] = "b" * 64  # the run was made again, by whomever
  made.at_end("grpo", ["num_seeds=2"])
  assert len(asked) == 2


@pytest.mark.parametrize("variant", ["4", "16"])
def test_horizons_differ_in_task_and_budget_alone(variant, monkeypatch):
  monkeypatch.chdir(ROOT)
  read = lambda name: study.read_study(name, None, None)
  other, middle = read(f"horizon:{variant}"), read("horizon")
  assert (other.name, middle.name) == (f"horizon_{variant}", "horizon")
  assert list(other.config.entries) == list(middle.config.entries) and other.config.claims == middle.config.claims
  for entry in other.config.entries.values():
    resolved = configs.resolve(entry.config, [*other.config.overrides, *entry.overrides])
    (level,) = resolved.task.levels.values()
    assert level.operations == int(variant)


@pytest.mark.parametrize("name", STUDIES)
def test_every_entry_of_the_committed_studies_resolves_with_its_stages(name, monkeypatch):
  monkeypatch.chdir(ROOT)
  config = study.read_study(f"experiments/studies/{name}.py", None, None).config
  assert config.baseline in config.entries and set(config.overrides)
  for claim in config.claims.values():
    compared = {claim.metric, claim.get("right_metric", claim.metric)}
    assert {claim.left, claim.right} <= set(config.entries) and compared <= set(config.metrics)
  for entry in config.entries.values():
    overrides = [*config.overrides, *config.final_overrides, *entry.overrides, "num_tokens=9"]
    resolved = configs.resolve(entry.config, overrides)
    for stage in resolved.stages:
      assert initialization.stage_config(resolved, stage).num_tokens is None


def test_runs_of_stages_side_by_side_can_start(monkeypatch, tmp_path):
  """Each member of a tuning run starts from the members before it; the final run has the stages' best rates alone."""
  monkeypatch.chdir(ROOT)
  config = study.read_study("dmoerm", None, None).config
  made = study.Study("dmoerm", config, tmp_path, launch.Terminal([], io.StringIO(), None), [])

  def run(self, workdir, file, overrides, budget):
    built = initialization.build(configs.resolve(file, [*config.overrides, *overrides]))
    stages = {stage.name: stage.config for stage in initialization.stages_before(built, workdir)}
    assert set(stages) == set(built.config.stages)
    swept = {name: stage for name, stage in stages.items() if stage.learning_rates}
    if workdir.name.startswith("tuning-"):
      assert swept and all(stage.num_seeds == built.config.num_seeds for stage in swept.values())
    else:
      assert {(stage.num_seeds, len(stage.learning_rates)) for stage in swept.values()} == {(3, 1)}
    return Entry(np.zeros((1, 18)), {}, {config.tuning.metric: np.arange(18)}, 1.0, {})

  monkeypatch.setattr(study.Study, "run", run)
  for name in ("dmoerm", "outer", "unfused"):
    assert list(made.entry(name).tried.values()) == [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]


def test_rates_side_by_side_are_scored_by_the_area_under_their_own_curves(monkeypatch):
  """Members are seed by seed, each with both rates: the first ends higher, the second was up sooner."""
  config = common.study(
    token_budget=400, entries={"grpo": {"config": "a.py", "overrides": ("epochs=2",)}}, claims={}, baseline="grpo",
    learning_rates=(0.1, 0.2), tuning_budget=200,
  )  # fmt: skip
  asked = []

  def run(self, workdir, file, overrides, budget):
    asked.append((workdir.name, [o for o in overrides if "rate" in o or "seeds" in o], budget))
    curve = np.array([[0.0, 0.0, 0.0, 0.0], [0.1, 0.5, 0.1, 0.7], [0.8, 0.6, 0.8, 0.6]])
    tokens = np.array([[0.0], [100.0], [200.0]]) * np.ones(4)
    return Entry(tokens, {ACCURACY: curve}, {ACCURACY: list(curve[-1])}, 1.0, {})

  monkeypatch.setattr(study.Study, "run", run)
  made = study.Study("s", config, Path("w"), launch.Terminal([], io.StringIO(), None), [])
  found = made.entry("grpo")
  first, second = "learning_rates=(0.1,)", "learning_rates=(0.2,)"
  assert found.tried == {first: pytest.approx(0.25), second: pytest.approx((0.425 + 0.475) / 2)}
  assert found.chosen == (second,) and (found.tuning_seconds, found.seconds) == (1.0, 1.0)
  own = {"config": "a.py", "overrides": ["epochs=2"]}
  assert found.specification.items() >= own.items() and found.specification["study"]["tuning"]["token_budget"] == 200
  assert asked == [
    ("tuning-grpo", ["num_seeds=4", "learning_rates=(0.1, 0.2)"], 200), ("grpo", [second], 400)
  ]  # fmt: skip


def test_points_of_an_entry_are_scored_by_the_metric_at_the_budget(monkeypatch):
  """Two seeds of two points, each of which sets the rates of two stages."""
  points = (("stages.a.learning_rates", (0.1, 0.2)), ("stages.b.learning_rates", (0.3, 0.4)))
  entry = {"config": "a.py", "overrides": (), "tuning_overrides": ("stages.a.num_seeds=4",), "side_by_side": points}
  config = common.study(
    token_budget=400, entries={"both": entry}, claims={}, baseline="both", tuning_metric="pairs/agreement",
  )  # fmt: skip
  asked = []

  def run(self, workdir, file, overrides, budget):
    asked.append([o for o in overrides if o.startswith("stages")])
    none = np.zeros((1, 4))
    return Entry(none, {ACCURACY: none}, {"pairs/agreement": [0.6, 0.7, 0.62, 0.74]}, 1.0, {})

  monkeypatch.setattr(study.Study, "run", run)
  found = study.Study("s", config, Path("w"), launch.Terminal([], io.StringIO(), None), []).entry("both")
  first, second = (tuple(f"{name}=({values[i]!r},)" for name, values in points) for i in (0, 1))
  assert found.tried == {" ".join(first): pytest.approx(0.61), " ".join(second): pytest.approx(0.72)}
  assert found.chosen == second
  assert asked == [["stages.a.num_seeds=4", *(f"{name}={values}" for name, values in points)], list(second)]


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["experiments/studies/credit.py", "--only=gpro"], "has no entry 'gpro' (there are: dapo, dr_grpo"),
    (["horizon:5"], "no horizon '5': leave it out for eight operations, or take 4 or 16"),
    (["credit:5"], "credit has no variants: leave ':5' out"),
    (["horizon:"], "no horizon ':': leave it out for eight operations"),
    (["horizon", "--only=grpo,"], "horizon has no entry '' (there are: "),
    (["experiments/grpo.py"], "has no entries: it is not a study"),
    (["experiments/nothing.py"], "experiments/nothing.py"),
  ],
)
def test_bad_input_is_one_line(arguments, message, capsys, monkeypatch):
  monkeypatch.chdir(ROOT)
  assert study.main(arguments) == 1
  said = capsys.readouterr().err
  assert said.startswith("rl_jax.study: ") and message in said and said.count("\n") == 1
