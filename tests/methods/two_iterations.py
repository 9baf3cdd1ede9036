"""Two iterations of a method through the trainer, with a verifier that pleases an untrained policy half of the time."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import jax
import numpy as np

from rl_jax.launching import initialization
from rl_jax.rollouts import continuation, flat
from rl_jax.training import iteration, mesh
from rl_jax.training.trainer import Trainer
from tests.methods.counting import counted
from tests.training import small


class Done(NamedTuple):
  trainer: Trainer
  before: object
  """The state at the start."""
  metrics: list[dict[str, np.ndarray]]
  sampled: int
  """Tokens that the sampler wrote, of all iterations and seeds."""


def even(task):
  """The task, where a response is right if its tokens add up to an even number. The first objective is that too.
  Unit test u of a task that has some is passed if the sum can be divided by u + 2."""

  def verify(prompts, tokens, mask):
    verdicts, sums = task.verify(prompts, tokens, mask), (tokens * mask).sum(axis=1)
    rewards = (sums % 2 == 0).astype(np.float32)
    if "passes" in verdicts.extras:
      passes = verdicts.extras["passes"]
      divided = sums[:, None, None] % (np.arange(passes.shape[2]) + 2) == 0
      verdicts = verdicts.replace(extras={**verdicts.extras, "passes": divided & np.ones(passes.shape, bool)})
    if verdicts.objectives is not None:
      verdicts = verdicts.replace(objectives=verdicts.objectives.at[:, 0].set(rewards))
    return verdicts.replace(rewards=rewards)

  return dataclasses.replace(task, verify=verify)


@functools.cache
def two_iterations(method: str, *overrides: str, of: str = "grpo", change=lambda experiment: experiment) -> Done:
  """Two seeds of a method, by name, on the chain task; 2 x 4 rows.

  Args:
    of: the experiment whose other fields it takes.
    change: what else differs in the experiment.
  """
  experiment = initialization.build(small.make_config(f"method.name=rl_jax.methods.{method}", *overrides, method=of))
  trainer = Trainer(
    change(dataclasses.replace(experiment, task=even(experiment.task))), mesh.make_mesh(experiment.config.mesh)
  )
  before = jax.device_get(trainer.state)
  with counted(flat, continuation) as counts, mesh.use(trainer.mesh, trainer.experiment.rules):
    trainer.loop.programs = {"run": jax.jit(lambda state: iteration.run(trainer.experiment, state))}
    metrics = trainer.advance().metrics
  return Done(trainer, before, metrics, sum(counts))


OF_FINISHED_ROWS = ("reward", "accuracy", "zero_spread_rows", "loss/value", "value_error", "reflected_reward")


def assert_whole(done: Done) -> None:
  """Every token is counted, the sampler's logprobs are the trainer's, nothing was skipped, the policy moved."""
  assert done.metrics[-1]["generated_tokens"].sum() == done.sampled > 0
  for metrics in done.metrics:
    # Means of what is finished, or of one level, are of nothing where no row is.
    nothing = {name for name, value in metrics.items() if not np.isfinite(value).all()}
    assert all(name.startswith(OF_FINISHED_ROWS) for name in nothing), nothing
    assert not any(np.isinf(value).any() for value in metrics.values())
    assert (metrics["ratio_error"] < 1e-5).all() and (np.abs(metrics["kl_to_behaviour"]) < 1e-5).all()
    assert not metrics["skipped_updates"].any()
  moved = jax.tree.map(
    lambda new, old: np.abs(np.asarray(new) - old).max(axis=tuple(range(1, old.ndim))) > 0,
    jax.device_get(done.trainer.state.seeds.models["policy"].params),
    done.before.seeds.models["policy"].params,
  )
  assert all(leaf.all() for leaf in jax.tree.leaves(moved))
