"""A policy trains in an environment in Python: every turn is answered once, and a record is worth what it was live."""

from __future__ import annotations

import dataclasses
from signal import SIGKILL

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.configuration import configs
from rl_jax.launching import initialization
from rl_jax.training import mesh
from rl_jax.training.trainer import Trainer
from tests import commands
from tests.training import small

MODEL = {"width": 8, "heads": 1, "head_width": 8, "feed_forward": 8}


@pytest.fixture(scope="module")
def trained():
  """(state before, state after, metrics, rows that were asked, jobs that came of them) of an iteration, live and from
  records alone."""
  plain = configs.resolve("experiments/grpo.py:smoke").to_dict()
  plain |= {"task": {"name": "tests.training.dice_task"}, "stages": {}, "init_from": ""}
  plain["evaluation"] |= {"every_iterations": 0}
  plain["logging"] |= {"every_iterations": 1, "samples": 8}
  plain["sampling"] |= {"stop_sequences": tuple((token,) for token in range(0, 256, 9))}
  plain["model"] |= MODEL
  config = configs.resolve_config(plain | {"num_seeds": 1})
  experiment = initialization.build(config)
  verify, episodes, asked = experiment.task.verify, experiment.task.verify.args[0].episodes, []

  def counted(ids, split, tokens, mask):
    asked.append(len(ids))
    return verify(ids, split, tokens, mask)

  host, jobs = episodes._calls, []
  episodes._calls = lambda given: jobs.extend(given) or host(given)
  experiment = dataclasses.replace(experiment, task=dataclasses.replace(experiment.task, verify=counted))
  trainer = Trainer(experiment, mesh.make_mesh(config.mesh))
  copied = lambda state: jax.tree.map(np.array, jax.device_get(state))
  before, runs = copied(trainer.state), []
  for forgets in (False, True):
    trainer.state = jax.tree.map(jnp.asarray, before)
    if forgets:
      episodes._found = lambda record: None
    asked.clear(), jobs.clear()
    ((metrics,), *_), after = trainer.advance(), copied(trainer.state)
    runs.append((after, metrics, list(asked), list(jobs)))
  return before, runs


def test_every_turn_is_answered_once(trained):
  _, ((_, metrics, asked, jobs), (_, _, asked_again, jobs_again)) = trained
  first, second = asked
  assert first == 32 and 0 < second < first and len(jobs) == first + second
  assert [len(job["actions"]) for _, job in jobs] == [1] * first + [2] * second
  assert len({job["episode"] for _, job in jobs}) == first, "the second turns are those of live episodes"
  assert asked_again == asked and len({job["episode"] for _, job in jobs_again}) == first + second
  assert 0.2 < metrics["reward"][0] < 1.8 and metrics["unscored"] == 0 < metrics["gradient_norm"]


def test_a_record_is_worth_what_it_was_live(trained):
  """An iteration made again from records alone ends in the same parameters, bit for bit."""
  before, ((live, metrics, *_), (again, metrics_again, *_)) = trained
  start, one, other = (small.leaves(state.seeds.models["policy"].params) for state in (before, live, again))
  assert all((one[name] == other[name]).all() for name in one) and any((one[name] != start[name]).any() for name in one)
  for name, value in metrics.items():
    np.testing.assert_array_equal(value, metrics_again[name], err_msg=name)


@pytest.mark.slow
def test_killed_between_the_turns_of_an_episode_it_ends_the_same(tmp_path):
  """Each iteration has 32 first turns: the kills come at second turns, after a checkpoint and before the next."""
  command = lambda run: commands.flags(
    "experiments/grpo.py:smoke",
    tmp_path / run,
    "task.name=tests.training.struck_dice_task",
    "init_from=",
    "num_seeds=1",
    "num_iterations=4",
    "checkpoint.every_iterations=1",
    "evaluation.every_iterations=0",
    "logging.every_iterations=1",
    f"sampling.stop_sequences={tuple((token,) for token in range(0, 256, 9))}",
    *(f"model.{name}={size}" for name, size in MODEL.items()),
  )
  cache = tmp_path / "compiled"
  assert commands.train(command("straight"), cache).returncode == 0
  for strike_at, steps in ((100, [1]), (40, [1]), (100, [1, 2])):
    struck = commands.train(command("struck"), cache, env=commands.environment(cache, STRIKE_AT=str(strike_at)))
    assert struck.returncode == -SIGKILL, struck.stderr
    assert commands.steps(tmp_path / "struck")[-1] == steps[-1]
  assert commands.train(command("struck"), cache).returncode == 0
  commands.assert_same_end(tmp_path / "straight", tmp_path / "struck")
