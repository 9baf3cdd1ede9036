"""A verifier in Python is asked about each response once, and what it said of it stays."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

from rl_jax.configuration import configs
from rl_jax.launching import initialization
from rl_jax.methods import dapo
from rl_jax.tasks.scoring import FAILURES
from rl_jax.tasks.task import Verdicts
from rl_jax.training import mesh
from rl_jax.training.trainer import Trainer

TASK = Path(__file__).parent / "byte_task.py"
PROMPTS, GROUP, ROUNDS = 3, 2, 3
ROWS = PROMPTS * GROUP
"""Of one round."""


class Verifier:
  """Stands in for `HostTask.verify`. `rewards`: ids of the rows asked -> rewards."""

  def __init__(self):
    self.rewards, self.asked = lambda ids: np.zeros(len(ids)), []

  def __call__(self, ids, split, tokens, mask):
    assert len(ids) == len(tokens) == len(mask)
    rewards = np.asarray(self.rewards(np.asarray(ids)), np.float32)
    self.asked.append(np.asarray(ids).tolist())
    extras = {"correct": rewards >= 1} | {f"part/{name}": np.zeros(len(ids), np.float32) for name in FAILURES}
    return Verdicts(rewards, np.ones(len(ids), bool), np.full(np.shape(tokens), -1, np.int32), extras)

  @property
  def sizes(self):
    """Rows of each call that asked for any."""
    return [len(ids) for ids in self.asked if ids]


class Noted(NamedTuple):
  """A trainer of DAPO with three rounds of three prompts, and what its iterations read of verdicts."""

  trainer: Trainer
  verifier: Verifier
  kept: list
  """(correct, group ids, scored) of every phase that decides which groups to keep."""
  trained: list
  """(rewards, group ids, scored) of every batch."""

  def advance(self):
    """Metrics of one iteration, of which the lists tell."""
    for told in (self.verifier.asked, self.kept, self.trained):
      told.clear()
    (metrics,) = self.trainer.advance().metrics
    jax.effects_barrier()
    return metrics


def noting(told, function, arrays_of):
  def run(*arguments):
    jax.debug.callback(lambda *arrays: told.append([np.asarray(x) for x in arrays]), *arrays_of(*arguments))
    return function(*arguments)

  return run


def config_of(folder, experiment, **options):
  """An experiment on problems in a folder, with a tiny model; `options` are the method's."""
  problems = [{"question": f"{i}+1=", "answer": f"{i + 1}"} for i in range(60)]
  (folder / "sums.jsonl").write_text("".join(json.dumps(problem) + "\n" for problem in problems))
  plain = configs.resolve(f"experiments/{experiment}.py:smoke").to_dict()
  plain |= {"task": {"name": str(TASK), "file": str(folder / "sums.jsonl"), "workers": 0}, "stages": {}}
  plain |= {"init_from": "", "num_seeds": 1, "prompts_per_iteration": PROMPTS, "completions_per_prompt": GROUP}
  plain["model"] |= {"width": 8, "heads": 1, "head_width": 8, "feed_forward": 8}
  plain["logging"] |= {"every_iterations": 1}
  plain["method"] |= options
  plain["evaluation"] |= {"prompts": 4, "prompts_at_a_time": 2, "samples_per_prompt": 2, "pass_at": (1,)}
  return configs.resolve_config(plain)


@pytest.fixture(scope="module")
def noted(tmp_path_factory):
  folder = tmp_path_factory.mktemp("data")
  kept, trained, verifier = [], [], Verifier()
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("RL_JAX_CACHE", str(folder / "cache"))
    patch.setattr(dapo, "informative_groups", noting(kept, dapo.informative_groups, lambda *arrays: arrays))
    experiment = initialization.build(config_of(folder, "dapo", max_rounds=ROUNDS))
    signal = noting(
      trained, experiment.method.signal, lambda rows, iteration: (rows.rewards, rows.group_ids, rows.scored)
    )
    method = dataclasses.replace(experiment.method, signal=signal)
    task = dataclasses.replace(experiment.task, verify=verifier)
    experiment = dataclasses.replace(experiment, task=task, method=method)
    yield Noted(Trainer(experiment, mesh.make_mesh(experiment.config.mesh)), verifier, kept, trained)


def half_of_even(ids):
  """Groups of even problems have a right and a wrong answer, others two wrong ones."""
  return (np.arange(len(ids)) % GROUP == 0) & (ids % 2 == 0)


def test_the_first_wave_asks_all_and_a_later_one_what_is_missing(noted):
  noted.verifier.rewards, later = half_of_even, 0
  for _ in range(6):
    metrics = noted.advance()
    missing, expected = PROMPTS, []
    for ids in filter(None, noted.verifier.asked):
      expected.append(missing * GROUP)
      missing -= sum(number % 2 == 0 for number in ids[::GROUP])
    assert noted.verifier.sizes == expected and expected[0] == ROWS
    assert missing == 0 or len(expected) == ROUNDS, "as long as groups are missing there is another round"
    assert metrics["rounds"] == len(expected) and metrics["kept"] == (PROMPTS - missing) / (sum(expected) / GROUP)
    assert metrics["unscored"] == 0 and metrics["reward"] == (0.5 if missing < PROMPTS else 0)
    later += sum(size < ROWS for size in expected)
  assert later > 2, "some rounds ask a part"


def test_three_waves_cost_at_most_three_verdicts_for_each_row_of_a_batch(noted):
  noted.verifier.rewards = lambda ids: np.zeros(len(ids))
  noted.advance()
  assert noted.verifier.sizes == [ROWS] * ROUNDS


def test_a_verdict_never_changes(noted):
  """The verifier says something else at every call: what a phase reads of a row is what is trained on."""
  draws = np.random.default_rng(0)
  noted.verifier.rewards = lambda ids: draws.integers(0, 2, len(ids))
  for _ in range(4):
    noted.advance()
    assert len(noted.kept) == ROUNDS and len(noted.trained) == 1
    for (correct, _, scored), (after, _, still) in itertools.pairwise(noted.kept):
      rows = len(correct)
      assert not (scored & ~still[:rows]).any()
      np.testing.assert_array_equal(after[:rows][scored], correct[scored])
    (correct, groups, scored), (rewards, own, used) = noted.kept[-1], noted.trained[0]
    assert sum(noted.verifier.sizes) == scored.sum() <= ROUNDS * ROWS
    assert used.any()
    for group in np.unique(own[used]):
      np.testing.assert_array_equal(rewards[own == group], correct[groups == group])


def test_held_out_responses_are_verified_once(noted):
  noted.verifier.asked.clear()
  noted.trainer.evaluate()
  assert noted.verifier.sizes == [4, 2] * 2, "of two chunks of two prompts, two samples and a greedy response to each"


@pytest.mark.slow
def test_further_rows_are_verified_once_and_only_where_a_prior_is_refuted(tmp_path, monkeypatch):
  """Answers to odd problems are wrong, which refutes a prior of 1: gains are 0.033 and 0.018 at 2 and 3 of them, which
  pay, and 0.011 at 4, which does not."""
  monkeypatch.setenv("RL_JAX_CACHE", str(tmp_path / "cache"))
  options = {"prior": "constant", "prior_start": 1.0, "rounds": 2, "rows_per_round": PROMPTS, "cost": 0.056}
  experiment, verifier = initialization.build(config_of(tmp_path, "v05", **options)), Verifier()
  verifier.rewards = lambda ids: ids % 2 == 0
  experiment = dataclasses.replace(experiment, task=dataclasses.replace(experiment.task, verify=verifier))
  trainer, sizes = Trainer(experiment, mesh.make_mesh(experiment.config.mesh)), set()
  for _ in range(4):
    verifier.asked.clear()
    (metrics,) = trainer.advance().metrics
    first, *further = filter(None, verifier.asked)
    wrong = [number for number in first[::GROUP] if number % 2]
    assert len(first) == ROWS and metrics["refuted"] == len(wrong) / PROMPTS
    assert sorted(number for ids in further for number in ids) == sorted(wrong * 2)
    assert metrics["rows_per_prompt"] == (ROWS + 2 * len(wrong)) / PROMPTS
    assert metrics["unscored"] == metrics["undecided"] == 0
    sizes.add(len(wrong))
  assert len(sizes) > 1
