"""What was not scored is never a reward of 0, and a reward that is not finite ends the run in one line."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.launching import launch
from rl_jax.launching.launch import Terminal
from rl_jax.launching.stop import Stop
from rl_jax.rollouts.rollout import RolloutResult
from rl_jax.runs.curve import curve
from rl_jax.runs.directory import find_run
from rl_jax.runs.metric_names import ACCURACY, REWARD
from rl_jax.runs.metrics import read_metrics
from rl_jax.runs.samples import read_samples
from rl_jax.training import iteration
from tests import commands
from tests.training import small

TASK = Path(__file__).parent / "odd_task.py"
ROWS = 8


class Ended(NamedTuple):
  """A run that was refused: its folder, what it said, and why it ended."""

  folder: Path
  said: str
  line: str


def ended(folder: Path, *overrides: str) -> Ended:
  config = configs.resolve("experiments/grpo.py:smoke", [
    *commands.SMALL, "init_from=", f"task.name={TASK}", "num_seeds=1", "evaluation.greedy=False", "model.layers=1",
    "logging.every_iterations=1", "num_iterations=8", "checkpoint.every_iterations=2", "evaluation.every_iterations=2",
    *overrides,
  ])  # fmt: skip
  stream = io.StringIO()
  with pytest.raises(UserError) as error:
    launch.train(config, folder, Terminal(["test"], stream, Stop()))
  return Ended(folder, stream.getvalue(), str(error.value))


@pytest.fixture(scope="module")
def silent(tmp_path_factory) -> Ended:
  """A verifier that judges nothing."""
  return ended(tmp_path_factory.mktemp("silent") / "run", "task.verdicts=none")


@pytest.mark.integration
def test_finding_6_a_device_task_without_any_verdict_stops(silent):
  assert silent.line == (
    f"iteration 3: the verifier of {TASK} gave no verdict on any response in the last 3 iterations (reward_mask is "
    "False on all rows)"
  )


@pytest.mark.integration
def test_finding_6_rows_without_a_verdict_are_recorded_and_shown_as_such(silent):
  run = find_run(silent.folder)
  lines = read_metrics(run.metrics)
  assert [line["iteration"] for line in lines] == [0, 1, 2, 2]
  for line in lines:
    kind = "" if line["kind"] == "train" else "held_out/"
    assert math.isnan(line[f"{kind}reward"][0]) and line[f"{kind}unscored"] == [1.0]
    assert math.isnan(line["accuracy" if line["kind"] == "train" else ACCURACY][0])
  assert '"reward": ["NaN"]' in run.metrics.read_text(), "strict JSON"
  assert {sample["reward"] for sample in read_samples(run.samples)} == {None}
  assert "iteration 2/8 | reward NaN | held-out NaN | " in silent.said and "| unscored 100 % |" in silent.said
  curves = json.loads(json.dumps(curve(run, [REWARD])["curves"]))
  assert math.isnan(curves[REWARD]["mean"][0]) and math.isnan(curves[REWARD]["seeds"][0][0])


@pytest.mark.integration
@pytest.mark.parametrize("reward, rows, where", [
  ("inf", ROWS, "iteration 1"), pytest.param("nan", 0, "evaluation of iteration 0", marks=pytest.mark.slow),
])  # fmt: skip
def test_finding_15_a_reward_of_a_device_task_that_is_not_finite_is_refused(reward, rows, where, tmp_path):
  # Evaluations have batches of another size.
  overrides = (f"task.verdicts={reward}", f"task.on_batches_of={rows}", "evaluation.prompts=6")
  assert ended(tmp_path / "run", *overrides).line == (
    f"{where}: a reward of seed 0 is not finite: the verifier of {TASK} gives finite rewards, or none (reward_mask "
    "False)"
  )


def test_rows_that_a_filter_left_out_have_their_verdict():
  """An iteration that trains on nothing, as DAPO, PRIME and SPO-tree have them, says nothing of the verifier."""
  experiment = small.make_experiment("num_seeds=1", "completions_per_prompt=4")
  seed = small.make_seed(experiment)
  rows = small.make_trajectories(experiment, seed)

  def unjudged(**fields):
    batch = rows.replace(row_mask=jnp.zeros_like(rows.row_mask), **fields)
    result = RolloutResult(seed.rollout, batch, batch.sampled_tokens, {})
    return jax.jit(lambda seed: iteration.learn(experiment, seed, result, 0)[1].unjudged)(seed)

  assert not unjudged()
  assert unjudged(reward_mask=jnp.zeros_like(rows.reward_mask))
