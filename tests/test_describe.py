"""Fields in words, by `rl-jax describe` and by --config.FIELD? of training; and a launch that runs nothing."""

from __future__ import annotations

import pytest

from rl_jax import describe, train
from tests.test_experiments import DEVICE, config_of


def lines_of(capsys, *argv, main=describe.main) -> list[str]:
  assert main(list(argv)) == 0
  return capsys.readouterr().out.splitlines()


def test_a_field_has_value_default_range_and_comment(capsys):
  assert lines_of(capsys, "pav", "method.alpha") == [
    "method.alpha = 1.0  (default 5.0)  [a finite number at least 0]  3 for 9B, 1 in the didactic task"
  ]


@pytest.mark.parametrize("asked, count", [("beta1", 1), ("optimizer", 14), ("epochs", 1), ("sampling.top_p", 1)])
def test_a_field_is_named_whole_by_its_end_or_by_its_section(capsys, asked, count):
  found = lines_of(capsys, asked)
  assert len(found) == count and all(asked.rpartition(".")[2] in line for line in found)


def test_overrides_count_and_variants_too(capsys):
  (line,) = lines_of(capsys, "grpo:smoke", "num_seeds", "--config.num_seeds=7")
  assert line.startswith("num_seeds = 7  (default 3)  [a whole number at least 1]")


def test_training_explains_fields_and_trains_nothing(capsys, tmp_path):
  argv = ("grpo", f"--workdir={tmp_path / 'run'}", "--config.staleness?")
  assert lines_of(capsys, *argv, main=train.main) == lines_of(capsys, "grpo", "staleness")
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", DEVICE)
def test_every_field_of_an_experiment_is_described(name):
  described = describe.described(config_of(name, ""))
  assert all(line.startswith(f"{field} = ") for field, line in described.items())
  bare = [field for field, line in described.items() if field.startswith(("method.", "task.")) and "  " not in line]
  assert len(bare) < len(described) / 4, "a comment or a range says more than a value"


@pytest.mark.parametrize(
  "argv, said",
  [
    (["grpo", "learning_rat"], "no field 'learning_rat': did you mean 'learning_rate'?"),
    (["grpo", "method.kl_coef"], "no field 'method.kl_coef': did you mean 'method.kl_coefficient'?"),
  ],
)
def test_an_unknown_field_is_one_line(capsys, argv, said):
  assert describe.main(argv) == 1
  assert capsys.readouterr().err == f"rl_jax.describe: {said}\n"


def test_a_dry_run_says_what_would_be_trained_and_writes_nothing(capsys, tmp_path):
  found = lines_of(capsys, "grpo:smoke", f"--workdir={tmp_path / 'run'}", "--dry_run", main=train.main)
  text = "\n".join(found)
  assert '"learning_rate": 0.01' in text
  assert f"stage warm_start: 40 iterations of rl_jax.methods.supervised, to be trained in {tmp_path}/stages/" in text
  assert "iteration: 4 prompts, 32 rows of 10 + 16 slots: at most 512 tokens of responses" in text
  assert found[-1] == "programs to compile: rollout, update, evaluation"
  assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_what_cannot_be_launched_is_one_line(capsys, tmp_path):
  argv = ["grpo:smoke", f"--workdir={tmp_path / 'run'}", "--dry-run", "--config.minibatches_per_epoch=7"]
  assert train.main(argv) == 1
  assert "rows of an iteration (32) is not a multiple of minibatches_per_epoch (7)" in capsys.readouterr().err


def test_a_dry_run_of_a_users_faulty_code_leaves_no_folder(capsys, tmp_path):
  (tmp_path / "broken.py").write_text("def get_config(variant=''):\n  raise KeyError('lost')\n")
  argv = [f"{tmp_path / 'broken.py'}", f"--workdir={tmp_path / 'run'}"]
  assert train.main([*argv, "--dry_run"]) == 1 and not (tmp_path / "run").exists()
  assert train.main(argv) == 1 and (tmp_path / "run/traceback.txt").exists()


@pytest.mark.parametrize(
  ("change", "said"),
  [
    ("init_from=nostage", "init_from='nostage' is neither a stage of this config (bridge, critic, "),
    ("init_from=NOWHERE", "NOWHERE does not exist: give the --workdir of a run"),
    ("stages.trained_teacher.init_from=NOWHERE", "NOWHERE does not exist"),
    ("stages.bridge.method.teacher.init_from=NOWHERE", "NOWHERE does not exist"),
    ("stages.bridge.method.form=renyi", "stage bridge: method rl_jax.methods.distillation: method.form is one of"),
    ("stages.distillation.method.coefficient=-1", "stage distillation: method.coefficient: want a finite number"),
    ("stages.teacher_start.learning_rate=-1", "stage teacher_start: learning_rate: want"),
    ("stages.bridge.num_seeds=3", "stage bridge has 3 seeds, this run 1: start from a run of one learning rate"),
    ("init_from=bridge#critic", "stage bridge has no model 'critic': it has policy, teacher"),
    (
      "stages.bridge.method.teacher.model.width=32",
      "stage trained_teacher: its model 'policy' is no start for 'teacher': embedding is (35, 24) there and (35, 32)",
    ),
  ],
)
def test_a_mistake_in_any_stage_ends_a_launch_before_the_first_is_trained(change, said, capsys, tmp_path):
  """With and without --dry_run, which ends as the launch does."""
  change = change.replace("NOWHERE", str(tmp_path / "nowhere"))
  for more in (["--dry_run"], []):
    assert train.main(["opd:smoke", f"--workdir={tmp_path / 'run'}", f"--config.{change}", *more]) == 1
    error = capsys.readouterr().err
    assert said.replace("NOWHERE", str(tmp_path / "nowhere")) in error and error.count("\n") == 1
    assert not any(file.is_file() for file in tmp_path.rglob("*"))
