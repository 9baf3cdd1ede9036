"""The evaluation of a checkpoint is the run's own; intervals by hand; comparison is paired; mistakes are one line."""

from __future__ import annotations

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from rl_jax import evaluate, export
from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.launching import initialization, launch
from rl_jax.launching.policies import better_than_kept, restored
from rl_jax.models import huggingface, loading
from rl_jax.models.model import Model
from rl_jax.runs.directory import find_run
from rl_jax.runs.evaluations import _own_line, by_seed, compare, estimate, summarise
from rl_jax.runs.intervals import bootstrap, wilson
from rl_jax.runs.metrics import read_metrics
from rl_jax.training import evaluation, mesh
from tests.commands import SMALL, assert_moved
from tests.launching.test_launch import quiet


def test_wilson_by_hand():
  """z = 1.96, n = 10: for p = 0 the upper end is z^2 / (n + z^2) = 0.2775; for p = 0.5 0.5 -+ 0.2634."""
  assert wilson(0.0, 10) == pytest.approx((0.0, 0.27753), abs=1e-4)
  assert wilson(1.0, 10) == pytest.approx((0.72247, 1.0), abs=1e-4)
  assert wilson(0.5, 10) == pytest.approx((0.23659, 0.76341), abs=1e-4)
  assert np.isnan(wilson(0.0, 0)).all()


def test_lengths_of_right_responses_by_hand():
  numbers = lambda values: jnp.array(values, jnp.float32)
  lengths = jnp.array([[3, 5], [7, 9]])
  measured = lambda correct: evaluation.measure(
    types.SimpleNamespace(
      config=ConfigDict({"evaluation": {"pass_at": (), "greedy": False}}), task=types.SimpleNamespace(levels=("one",))
    ),
    evaluation.Evaluation(
      evaluation.Answers(numbers(correct), lengths > 0, numbers(correct) > 0, lengths, lengths < 0, jnp.zeros(2, int)),
      None,
    ),
  )
  found = measured([[0, 1], [0, 1]])
  assert (found["held_out/correct_response_length"], found["held_out/response_length"]) == (7, 6)
  assert np.isnan(measured([[0, 0], [0, 0]])["held_out/correct_response_length"])


def test_the_bootstrap_of_two_values_by_hand():
  """Means of 0 and 1 drawn twice are 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4."""
  assert bootstrap([0.0, 1.0]) == (0.0, 1.0)
  assert bootstrap([0.0, 1.0], level=0.4) == (0.5, 0.5)
  values = np.random.default_rng(0).normal(size=400)
  assert np.mean(bootstrap(values)) == pytest.approx(values.mean(), abs=0.01)
  assert np.diff(bootstrap(values))[0] == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)


def test_the_estimate_of_two_problems_by_hand():
  """Half -+ t_1(0.975) s / sqrt(2) = 0.4 -+ 12.706 * 0.1, cut to [0, 1]; one problem has no interval."""
  assert estimate([0.3, 0.5]) == pytest.approx({"value": 0.4, "low": 0.0, "high": 1.0})
  assert estimate([0.39, 0.41]) == pytest.approx({"value": 0.4, "low": 0.4 - 0.12706, "high": 0.4 + 0.12706}, abs=1e-4)
  assert estimate([0.5]) == {"value": 0.5, "low": None, "high": None}
  levels = summarise({1: [0.0, 1.0, 1.0]}, None, [1, 0, 0], ("easy", "hard"))["levels"]
  assert [(levels[name]["problems"], levels[name]["pass_at"]["1"]["value"]) for name in levels] == [(2, 1.0), (1, 0.0)]


def test_a_comparison_is_paired():
  """Each problem is better by 1/8, though problems differ: the interval is the point."""
  record = lambda values, ids=(3, 1, 4): {
    "what": "other",
    "problems": {"data": "x", "ids": list(ids), "pass_at": {"1": values}, "greedy": None},
  }
  found = compare(record([0.125, 0.5, 1.0]), record([0.0, 0.375, 0.875]), "file")
  assert found["differences"] == {"pass@1": {"value": 0.125, "low": 0.125, "high": 0.125}}
  with pytest.raises(UserError, match="file is an evaluation of other problems"):
    compare(record([1.0] * 3), record([1.0] * 3, (3, 1, 5)), "file")


def test_a_better_evaluation_without_a_checkpoint_is_told():
  lines = [
    {"kind": "evaluation", "iteration": iteration, "accuracy": [value, value]}
    for iteration, value in enumerate((0.1, 0.6, 0.5, float("nan")))
  ]
  told = better_than_kept(lines, "accuracy", 2)
  assert told.startswith("iteration 1 was better (accuracy 0.6 against 0.5), but no checkpoint of it is there")
  assert better_than_kept(lines, "accuracy", 1) == better_than_kept(lines, "reward", 2) == ""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run of two seeds with checkpoints of iterations 2 and 4, whose policies differ."""
  folder = tmp_path_factory.mktemp("evaluate") / "run"
  overrides = [*SMALL, "learning_rate=1e-2", "checkpoint.keep=3"]
  launch.train(configs.resolve("experiments/grpo.py:smoke", overrides), folder, quiet())
  assert_moved(folder)
  return folder


def command(capsys, *argv):
  status = evaluate.main(list(map(str, argv)))
  out, err = capsys.readouterr()
  return status, out, err


@pytest.mark.integration
def test_a_checkpoint_is_evaluated_as_the_run_did_it(run, tmp_path, capsys):
  """Same keys, same problems: the metrics of that iteration, and results per problem that add up to them."""
  logged = {line["iteration"]: line for line in read_metrics(find_run(run).metrics) if line["kind"] == "evaluation"}
  output = tmp_path / "out" / "last.json"
  status, out, err = command(capsys, f"--workdir={run}", f"--output={output}", "--format=json")
  assert status == 0, err
  told, kept = json.loads(out), json.loads(output.read_text())
  last = logged[4]
  accuracy = {iteration: line["held_out/sampled_accuracy"] for iteration, line in logged.items()}
  assert 0 < np.mean(accuracy[4]) < 1 and accuracy[4] != accuracy[2]
  assert told["what"] == f"{run}, iteration 4" and "problems" not in told
  summary = told["summary"]
  assert summary["pass_at"]["1"]["value"] == pytest.approx(np.mean(last["held_out/sampled_accuracy"]), abs=1e-6)
  assert summary["pass_at"]["2"]["value"] == pytest.approx(np.mean(last["held_out/pass_at_2"]), abs=1e-6)
  assert summary["greedy"]["value"] == pytest.approx(np.mean(last["held_out/greedy_accuracy"]), abs=1e-6)
  for name in ("unscored", "truncated", "response_length"):
    assert told[name] == pytest.approx(np.mean(last[f"held_out/{name}"]), abs=1e-5), name
  counts = np.array(kept["problems"]["correct"])
  assert counts.shape == (2, 4) and len(kept["problems"]["ids"]) == 4
  np.testing.assert_allclose(counts.mean(axis=1) / 2, last["held_out/sampled_accuracy"], atol=1e-6)
  assert told["tokens_per_second"] > 0

  status, out, err = command(capsys, f"--workdir={run}", "--iteration=2", f"--compare={output}")
  assert status == 0, err
  assert f"{run}, iteration 2" in out and f"minus {run}, iteration 4" in out and "pass@2" in out
  with pytest.raises(AssertionError):
    assert command(capsys, f"--workdir={run}", "--config.evaluation.prompts=3", f"--compare={output}")[0] == 0


@pytest.mark.integration
def test_the_start_of_an_experiment_is_evaluated(run, capsys):
  """Another run is a base model like any other; of its two seeds each is one policy."""
  overrides = [f"--config.{o}" for o in (*SMALL, f"init_from={run}", "evaluation.samples_per_prompt=3")]
  status, out, err = command(capsys, "--config=experiments/grpo.py:smoke", *overrides, "--format=json")
  assert status == 0, err
  found = json.loads(out)
  assert found["what"] == str(run) and found["samples_per_prompt"] == 3 and found["seeds"] == [0, 1]


@pytest.mark.slow
@pytest.mark.integration
def test_a_run_answers_in_the_forms_of_another_method(run, capsys):
  """A policy of GRPO, which has never read a workspace, in a single pass and with one draft to refine."""
  forms = ("--config.method.inference=((),(1,))", "--config.evaluation.prompts=4")
  arguments = f"--workdir={run}", "--config=experiments/pdr.py:smoke", "--config.task.levels.four.operations=2", *forms
  status, out, err = command(capsys, *arguments, "--format=json")
  assert status == 0, err
  own = json.loads(out)["own_evaluations"]
  kinds = ("accuracy", "sequential_tokens", "total_tokens")
  assert set(own) == {f"{form}/{kind}" for form in ("single", "sequential_1") for kind in kinds}
  assert all(len(found["seeds"]) == 2 for found in own.values())
  assert own["sequential_1/total_tokens"]["value"] > own["single/total_tokens"]["value"] > 0
  status, out, err = command(capsys, f"--workdir={run}", *forms)
  assert status == 1 and "only fields of evaluation, sampling, task, mesh can differ" in err


def test_own_evaluations_by_seed_by_hand():
  """A metric that a seed does not have is null there and in the mean, and said so."""
  found = by_seed({"b/accuracy": [0.25, 0.75], "a/accuracy": [np.nan, 0.5]})
  assert found == {
    "a/accuracy": {"value": None, "seeds": [None, 0.5]}, "b/accuracy": {"value": 0.5, "seeds": [0.25, 0.75]}
  }  # fmt: skip
  lines = [" ".join(_own_line(name, of_seeds).split()) for name, of_seeds in found.items()]
  assert lines == ["a/accuracy not defined", "b/accuracy 0.500 (seeds 0.250 to 0.750)"]


@pytest.mark.parametrize(
  ("arguments", "expected"),
  [
    ((), "nothing to evaluate: give the --workdir of a run, or an experiment's --config"),
    (("--workdir={run}", "--itertion=2"), "unknown flag '--itertion': did you mean '--iteration'?"),
    (("--workdir={run}", "--iteration=soon"), "newest, best or a number, got 'soon'"),
    (("--workdir={run}", "--iteration=3"), "no checkpoint 3 in {run}/checkpoints (there: 2, 4)"),
    (("--workdir={run}x",), "{run}x does not exist: give the --workdir of a run"),
    (("--workdir={run}", "--config.learning_rate=1.0"), "only fields of evaluation, sampling, task, mesh can differ"),
    (("--workdir={run}", "--config.evaluation.pass_at=(3,)"), "pass_at[0]: want at most evaluation.samples_per_"),
    (("--workdir={run}", "--compare={run}/config.json"), "config.json is not an evaluation of format 1"),
    (("--config=experiments/grpo.py:smoke", "--config.init_from="), "the config names no start"),
    (("--config=experiments/grpo.py:smoke", "--iteration=2"), "--iteration=2 is one of a run's checkpoints"),
  ],
)
@pytest.mark.integration
def test_mistakes_are_one_line(run, arguments, expected, capsys):
  status, out, err = command(capsys, *(argument.format(run=run) for argument in arguments))
  (line,) = err.splitlines()
  assert status == 1 and not out and line.startswith("rl_jax.evaluate: ") and expected.format(run=run) in line, err


def test_an_exported_policy_is_that_of_the_checkpoint(run, tmp_path, capsys):
  folder = tmp_path / "model"
  assert export.main([str(run), f"--output={folder}", "--seed=1", "--iteration=2"]) == 0
  assert capsys.readouterr().out == f"{folder}\n"
  source = huggingface.open_folder(folder)
  config = configs.resolve_config(json.loads((run / "config.json").read_text()))
  experiment = initialization.build(config)
  policies = restored(experiment, mesh.make_mesh(config.mesh), run, "2")
  theirs = jax.tree.map(lambda x: np.asarray(x[1]), policies.params)
  jax.tree.map(np.testing.assert_array_equal, theirs, loading.load(source, Model(source.config)))
  assert source.context == experiment.task.prompt_tokens + experiment.task.response_tokens
  card = (folder / "README.md").read_text()
  assert "iteration 2, seed 1" in card and r"token ids are those of the task rl\_jax.tasks.chain" in card
  assert sorted(path.name for path in folder.iterdir()) == [
    "README.md", "config.json", "generation_config.json", "model.safetensors"
  ]  # fmt: skip


@pytest.mark.parametrize(
  ("flags", "said"),
  [
    ([], "--output is missing: write for example --output=models/grpo"),
    (["--output=x", "--public"], "--public is of --push: add it, or leave it out"),
    (["--output=x", "--push=model"], "--push=model: a repository of the hub is written owner/name"),
    (["--output=x", "--seed=2"], "has seeds 0 to 1"),
    (["--output=.", "--iteration=2"], ". exists: export into a new folder"),
    (["--output=x", "--iteration=last"], "newest, best or a number, got 'last'"),
  ],
)
def test_mistakes_of_an_export_are_one_line(run, flags, said, capsys, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert export.main([str(run), *flags]) == 1
  error = capsys.readouterr().err
  assert said in error and error.count("\n") == 1 and not (tmp_path / "x").exists()
