"""A task scored in Python trains, resumes exactly, and refuses data that has changed under a checkpoint."""

from __future__ import annotations

import functools
import io
import json
import types
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import pytest

from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.launching import initialization, launch, recorder
from rl_jax.launching.stop import Stop
from rl_jax.models import pretrained_files
from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.export import export
from rl_jax.models.model import Model
from rl_jax.runs.directory import find_run
from rl_jax.runs.metrics import read_metrics
from rl_jax.tasks.scoring import FAILURES, Verdict
from rl_jax.training.checkpoints import Checkpoints
from rl_jax.training.host_loop import HostLoop, _VerifiedRows
from rl_jax.training.trainer import Trainer
from tests import commands
from tests.training import small

TASK = Path(__file__).parent / "byte_task.py"
HERE = "tests.training.test_host_loop"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  folder = tmp_path_factory.mktemp("data")
  write(folder / "sums.jsonl", 60)
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("RL_JAX_CACHE", str(folder / "cache"))
    yield folder / "sums.jsonl"


def write(path, count):
  path.write_text("".join(json.dumps({"question": f"{i}+1=", "answer": f"#### {i + 1}"}) + "\n" for i in range(count)))


def config(data, iterations, **more):
  plain = configs.resolve("experiments/grpo.py:smoke").to_dict()
  plain |= {"task": {"name": str(TASK), "file": str(data), "workers": 1}, "stages": {}, "init_from": ""}
  plain |= {"num_seeds": 1, "num_iterations": iterations} | more
  plain["evaluation"] |= {"prompts": 4, "prompts_at_a_time": 2}
  plain["logging"] |= {"tensorboard": False, "report": False}
  return configs.resolve_config(plain)


def lines(folder):
  return list(read_metrics(find_run(folder).metrics))


def test_it_trains_and_goes_on_exactly(data, tmp_path):
  task = {"name": str(TASK), "file": str(data), "workers": 1, "verifier": "tests.training.even_verifier:even"}
  launch.train(config(data, 4, task=task), tmp_path / "whole")
  launch.train(config(data, 2, task=task), tmp_path / "parts")
  launch.train(config(data, 4, task=task), tmp_path / "parts")
  commands.assert_same_end(tmp_path / "whole", tmp_path / "parts")
  trained = [line for line in lines(tmp_path / "whole") if "ratio_error" in line]
  assert len(trained) == 4 and all(line["unscored"] == [0] for line in trained)
  assert all(line["ratio_error"][0] < 1e-5 for line in trained)


@pytest.mark.slow
def test_programs_are_scored_end_to_end(data, tmp_path):
  """The share of tests passed is the reward, and it rises: the policy finds the block that passes all of them."""
  rows = [{"question": f"after {i}", "tests": ["assert after(1) == 2", "assert after(0) == 1"]} for i in range(20)]
  (tmp_path / "functions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  task = {"name": str(TASK.with_name("program_task.py")), "file": str(tmp_path / "functions.jsonl"), "workers": 2}
  launch.train(config(data, 16, task=task, learning_rate=0.03), tmp_path / "run")
  trained = [line for line in lines(tmp_path / "run") if "ratio_error" in line]
  assert all(line["unscored"] == [0] for line in trained)
  rewards = [line["reward"][0] for line in trained]
  assert 0 < rewards[0] < 0.6 and min(rewards[-3:]) > 0.9, rewards


def test_changed_data_is_refused(data, tmp_path):
  launch.train(config(data, 2), tmp_path / "run")
  write(data, 61)
  with pytest.raises(UserError, match="the data of .*byte_task.py has changed since the checkpoint"):
    launch.train(config(data, 4), tmp_path / "run")


def never(response, entry, **arguments):
  raise TypeError("it got an odd thing")


def in_time(response, entry, **arguments):
  return Verdict(None, {"timed_out": 1.0})


def failed(response, entry, **arguments):
  return Verdict(0.0, {"timed_out": 1.0})


def without_reason(response, entry, **arguments):
  return Verdict(None)


def refused(response, entry, **arguments):
  return Verdict(None, {}, "the judge is away")


def exhausted(response, entry, **arguments):
  raise MemoryError


def odd(response, entry, **arguments):
  return Verdict(1.0, {"style": 1.0})


def unscored(data, verifier, **fields):
  task = {"name": str(TASK), "file": str(data), "workers": 0, "verifier": f"{HERE}:{verifier}"}
  return config(data, 8, task=task | fields)


def test_an_error_of_the_verifier_on_every_row_stops_the_run_with_that_error(data, tmp_path):
  with pytest.raises(UserError, match=r"no answer to a held-out .*:never has raised \d+ times, last: TypeErr"):
    launch.train(unscored(data, "never"), tmp_path / "run")


def test_want_of_time_on_every_row_stops_the_run_after_some_iterations(data, tmp_path):
  with pytest.raises(UserError, match="all responses timed out or crashed: the verifier has no time"):
    launch.train(unscored(data, "in_time", max_unscored_iterations=3), tmp_path / "run")
  assert [line["unscored"] for line in lines(tmp_path / "run") if "ratio_error" in line] == [[1.0]] * 2


@pytest.mark.parametrize(
  ("verifier", "line"),
  [
    ("failed", r"^all responses timed out or crashed: the verifier has no time, .*:failed: \d+ responses have timed "),
    pytest.param(
      "exhausted",
      r"^all responses timed out or crashed: [^ ]*:exhausted: 0 responses have timed out and \d+ have cra",
      marks=pytest.mark.slow,
    ),
    ("refused", r"^no response of the iteration has a verdict: [^ ]*:refused has given .*, last: the judge is away$"),
    pytest.param(
      "without_reason",
      "^no response of the iteration has a verdict: the verifier gave no reason, call it once",
      marks=pytest.mark.slow,
    ),
  ],
)
def test_iterations_without_any_judgement_stop_the_run_with_what_is_known(data, tmp_path, verifier, line):
  """Finding 6: their rewards are none, and no 0, whatever a failed response earns beside others."""
  said = io.StringIO()
  with pytest.raises(UserError, match=line) as error:
    config = unscored(data, verifier, max_unscored_iterations=3)
    launch.train(config, tmp_path / "run", launch.Terminal(["test"], said, Stop()))
  assert "\n" not in str(error.value) and ("no time" in str(error.value)) == (verifier == "failed")
  trained = [line for line in lines(tmp_path / "run") if "ratio_error" in line]
  assert [(np.isnan(line["reward"][0]), line["unscored"]) for line in trained] == [(True, [1.0])] * 2
  assert "iteration 2/8 | reward NaN | held-out NaN | " in said.getvalue() and "| unscored 100 %" in said.getvalue()
  assert f"{HERE}:{verifier}" in said.getvalue() or verifier == "without_reason", "a note says what became of them"


def test_programs_that_are_compiled_on_the_way_count_for_no_speed_and_no_time_left(data, tmp_path, monkeypatch):
  """Finding 19: the first call of iterations takes an hour here, of which the second knows nothing."""
  said, advance, now = io.StringIO(), Trainer.advance, [0.0]

  def slow(trainer):
    now[0] += 3600.0 if trainer.iterations == 0 else 1.0
    return advance(trainer)

  monkeypatch.setattr(Trainer, "advance", slow)
  clocked = functools.partial(recorder.Progress, clock=lambda: now[0])
  monkeypatch.setattr(recorder, "Progress", clocked)
  launch.train(config(data, 6), tmp_path / "run", launch.Terminal(["test"], said, Stop()))
  shown = [line for line in said.getvalue().splitlines() if line.startswith("iteration ") and "/6" in line]
  assert ["tokens/s" in line for line in shown] == [False, False, True, True]
  assert "left" not in shown[1] and shown[2].endswith("| 1s left"), shown


def checked(loop, verdicts):
  """Let a loop check rows (reward or None, what became of the response) of one seed."""
  parts = {f"part/{name}": np.array([float(became == name) for _, became in verdicts]) for name in FAILURES}
  mask = np.array([reward is not None for reward, _ in verdicts])
  given = types.SimpleNamespace(reward_mask=mask, extras=parts)
  HostLoop._check_verdicts(loop, _VerifiedRows.nothing().and_of(given, np.ones(mask.shape, bool)))


def test_one_judged_row_starts_the_count_anew_and_errors_alone_stop_at_once():
  late, crashed, error, right = (None, "timed_out"), (None, "crashed"), (None, "error"), (1.0, "")
  task = types.SimpleNamespace(max_unscored_iterations=3, reasons=lambda: ["it raised"])
  loop = types.SimpleNamespace(task=task, _unjudged_in_a_row=0, _timed_out=False)
  for rows in ([late, crashed], [late, error], [late, right], [crashed, crashed], [crashed, error]):
    checked(loop, rows)
  with pytest.raises(UserError, match="^all responses timed out or crashed: it raised$"):
    checked(loop, [crashed, crashed])
  loop = types.SimpleNamespace(task=task, _unjudged_in_a_row=0, _timed_out=False)
  with pytest.raises(UserError, match="^no response of the iteration has a verdict: it raised$"):
    checked(loop, [error, error])


def test_a_turn_that_asks_a_tool_is_no_judgement_of_an_answer():
  """Rows that go on have a clean score of nothing; the answer that is late counts alone."""
  parts = {f"part/{name}": np.array([0.0, float(name == "timed_out")]) for name in FAILURES}
  given = types.SimpleNamespace(reward_mask=np.ones(2, bool), extras={**parts, "done": np.array([False, True])})
  asked = _VerifiedRows.nothing().and_of(given, np.ones(2, bool))
  assert asked.scored.tolist() == [True] and asked.late.tolist() == [True]


def test_parts_that_were_not_announced_stop_the_run_with_a_line(data, tmp_path):
  with pytest.raises(UserError, match=r"^no response can be scored: .*\['style'\] that were not announced"):
    launch.train(unscored(data, "odd"), tmp_path / "run")


def test_seeds_are_runs_of_their_own(data, tmp_path):
  with pytest.raises(UserError, match="num_seeds=2: a task that is scored in Python has one seed per run"):
    launch.train(config(data, 2, num_seeds=2), tmp_path / "seeds")


def test_a_pretrained_model_is_what_training_starts_from(data, tmp_path):
  folder = tmp_path / "model"
  sizes = dict(width=16, layers=1, heads=2, key_value_heads=1, head_width=8, feed_forward=16)
  made = Model(TransformerConfig(vocabulary=258, outputs=258, tied_embeddings=True, **sizes))
  export(made, nn.unbox(made.init(jax.random.key(3))), folder, context=64)
  model = {"name": "rl_jax.models.pretrained", "checkpoint": str(folder)}
  resolved = config(data, 2, model=model, learning_rate=0.0)
  start = initialization.find(initialization.build(resolved), tmp_path, lambda config, path: True)["policy"]
  assert start.sha256 == pretrained_files.digest(folder) and start.origin == str(folder)
  launch.train(resolved, tmp_path / "run")
  with Checkpoints(find_run(tmp_path / "run").checkpoints) as saved:
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), start.params)
    params = saved.restore_subtree("seeds/models/policy/params", shapes).state
  small.assert_same(params, start.params)
