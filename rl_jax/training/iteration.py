"""One iteration: prompts, rollout, verification, advantages, update. Pure; many run under scan, seeds under vmap."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from kernels.curricula.dynamic_sampling import informative_groups
from kernels.reductions import Mean
from rl_jax.curricula.curriculum import Plan
from rl_jax.methods.method import Progress, Signal
from rl_jax.training.experiment import Experiment
from rl_jax.training.generating import generating
from rl_jax.training.optimizer import scale_of
from rl_jax.training.seeds import over_seeds
from rl_jax.training.state import (
  CURRICULUM,
  LEARNERS,
  MODELS,
  ROLLOUT,
  UPDATE,
  SeedState,
  TrainState,
  bind,
  iteration_key,
)
from rl_jax.training.update import of_method, of_models, update
from rl_jax.trajectories import POLICY, Trajectories


class Sampled(NamedTuple):
  """A few rows to show to a person."""

  tokens: Int[Array, "n T"]
  attention_mask: Bool[Array, "n T"]
  rewards: Array
  levels: Int[Array, " n"]
  credit: Float[Array, "n T"]
  """Advantages of the stream "policy" where it weighs; zeros if the method has no such stream."""


class Report(NamedTuple):
  """What an iteration tells the host."""

  metrics: dict[str, Mean]
  skipped_in_a_row: Array
  samples: Sampled


def plan(experiment: Experiment, seed: SeedState, iteration) -> tuple[SeedState, Plan]:
  """What one iteration samples, with the state of the curriculum after it."""
  curriculum, key = experiment.method.curriculum, iteration_key(seed, iteration, CURRICULUM)
  planned, state = curriculum.next(seed.curriculum, experiment.task, key)
  return seed.replace(curriculum=state), planned


def rollout(experiment: Experiment, seed: SeedState, iteration) -> tuple[SeedState, Trajectories]:
  """Scored trajectories of one iteration of a device task, with the states of curriculum and rollout after them."""
  seed, planned = plan(experiment, seed, iteration)
  key = iteration_key(seed, iteration, ROLLOUT)
  with generating(experiment, bind(experiment, seed.models)) as models:
    state, trajectories = experiment.method.rollout.step(models, seed.rollout, planned, experiment.task, key)
  return seed.replace(rollout=state), trajectories


def learn(
  experiment: Experiment, seed: SeedState, trajectories: Trajectories, iteration
) -> tuple[SeedState, dict[str, Mean]]:
  """Everything after the verifier: scoring (models with a loss of their own learn first), learners, signal, update,
  curriculum."""
  seed, metrics, _ = _learn(experiment, seed, trajectories, iteration)
  return seed, metrics


def _learn(
  experiment: Experiment, seed: SeedState, trajectories: Trajectories, iteration
) -> tuple[SeedState, dict[str, Mean], Signal]:
  """The same, with the signal that it learned from."""
  method, alone = experiment.method, of_models(experiment).keys()
  arrays = score(experiment, seed, trajectories, experiment.models.keys() - alone)
  trajectories = trajectories.with_arrays(**arrays)
  seed, own = _learn_alone(experiment, seed, trajectories, iteration)
  arrays |= score(experiment, seed, trajectories, alone)
  trajectories = trajectories.with_arrays(**arrays)
  learners, signal = make_signal(
    experiment, seed, trajectories, arrays, iteration, iteration_key(seed, iteration, LEARNERS)
  )
  updated = update(
    experiment,
    of_method(experiment),
    seed.models,
    seed.skipped_in_a_row,
    trajectories,
    signal,
    iteration_key(seed, iteration, UPDATE),
  )
  one = lambda x: Mean(x, jnp.float32(1.0))
  metrics = (
    own
    | updated.metrics
    | {
      "ratio_error": one(updated.gap.ratio_error),
      "kl_to_behaviour": updated.gap.kl_to_behaviour,
      "first_clip_fraction": updated.first_clip_fraction,
      "learning_rate": one(_learning_rate(experiment, seed, iteration)),
    }
  )
  seed = seed.replace(
    models=updated.models,
    skipped_in_a_row=updated.skipped_in_a_row,
    learners=learners,
    curriculum=method.curriculum.update(seed.curriculum, trajectories, signal),
  )
  return seed, metrics, signal


def _learning_rate(experiment: Experiment, seed: SeedState, iteration) -> Array:
  """Of the policy, at the first update of an iteration."""
  rate = experiment.schedules["policy"](iteration * experiment.updates_per_iteration)
  return rate * scale_of(seed.models["policy"].optimizer)


def make_signal(
  experiment: Experiment, seed: SeedState, trajectories: Trajectories, arrays: dict[str, Array], iteration, key
) -> tuple[dict[str, Any], Signal]:
  """The learners' states after these trajectories, and the method's signal.

  Args:
    arrays: what was scored, by name.
    key: of the learners.
  """
  method, learners = experiment.method, {}
  for i, (name, learner) in enumerate(method.learners.items()):
    learners[name], outputs = learner.update(seed.learners[name], trajectories, jax.random.fold_in(key, i))
    arrays = arrays | outputs
  return learners, jax.lax.stop_gradient(method.signal(trajectories, arrays, Progress(iteration)))


def _learn_alone(
  experiment: Experiment, seed: SeedState, trajectories: Trajectories, iteration
) -> tuple[SeedState, dict[str, Mean]]:
  """The updates of models with a loss of their own, and their metrics as <model>/<metric>."""
  metrics: dict[str, Mean] = {}
  for i, (name, objective) in enumerate(of_models(experiment).items()):
    key = jax.random.fold_in(iteration_key(seed, iteration, MODELS), i)
    done = update(experiment, objective, seed.models, seed.skipped_in_a_row, trajectories, {}, key)
    seed = seed.replace(models=done.models, skipped_in_a_row=done.skipped_in_a_row)
    metrics |= {f"{name}/{key.removeprefix(f'{name}/')}": mean for key, mean in done.metrics.items()}
  return seed, metrics


def score(
  experiment: Experiment, seed: SeedState, trajectories: Trajectories, among: Collection[str]
) -> dict[str, Array]:
  """What the method wants scored before the update by the models `among` its own, each run once."""
  models = bind(experiment, seed.models)
  wanted = {array: found for array, found in experiment.method.scoring.items() if found[0] in among}
  outputs = {
    name: models[name].model.outputs(
      models[name].params, trajectories.tokens, trajectories.positions, trajectories.attention_mask
    )
    for name in sorted({model for model, _ in wanted.values()})
  }
  return {array: outputs[model][output] for array, (model, output) in wanted.items()}


def describe(experiment: Experiment, trajectories: Trajectories) -> dict[str, Mean]:
  """Metrics of a batch of trajectories, whatever the method, with the mean over rows of each extra named part/ (the
  verifier's terms of a reward) or metric/ (what a rollout has to say)."""
  rows, scored = trajectories.row_mask, trajectories.scored
  share = lambda x, of: Mean(jnp.sum(jnp.where(of, x, 0.0), dtype=jnp.float32), of.sum().astype(jnp.float32))
  wrote = (trajectories.attention_mask & (trajectories.source_ids == POLICY) & rows[:, None]).sum()
  informative = informative_groups(trajectories.rewards, trajectories.group_ids, scored)
  metrics = {
    "reward": share(trajectories.rewards, scored),
    "accuracy": share(trajectories.correct, scored),
    "response_length": share(trajectories.response_lengths, rows),
    "truncated": share(trajectories.truncated, rows),
    "unscored": share(~scored, rows),
    "zero_spread_rows": share(~informative, scored),
    "generated_tokens": Mean(wrote + trajectories.spent_tokens.sum(), jnp.int32(1)),
    **{
      name: share(values, rows) for name, values in trajectories.extras.items() if name.startswith(("part/", "metric/"))
    },
  }
  for index, level in enumerate(experiment.task.levels):
    metrics[f"reward/{level}"] = share(trajectories.rewards, scored & (trajectories.extras["levels"] == index))
  return metrics


def iteration(experiment: Experiment, seed: SeedState, number) -> tuple[SeedState, Report]:
  """One iteration of one seed, all on device."""
  seed, trajectories = rollout(experiment, seed, number)
  return finish(experiment, seed, trajectories, number)


def finish(experiment: Experiment, seed: SeedState, trajectories: Trajectories, number) -> tuple[SeedState, Report]:
  """The iteration from scored trajectories on, with its report. Host tasks enter here."""
  seed, metrics, signal = _learn(experiment, seed, trajectories, number)
  shown = jnp.linspace(0, trajectories.tokens.shape[0] - 1, experiment.config.logging.samples, dtype=jnp.int32)
  rows = trajectories.rows(shown)
  samples = Sampled(rows.tokens, rows.attention_mask, rows.rewards, rows.extras["levels"], _credit(signal, rows, shown))
  return seed, Report(describe(experiment, trajectories) | metrics, seed.skipped_in_a_row, samples)


def _credit(signal: Signal, rows: Trajectories, shown: Int[Array, " n"]) -> Float[Array, "n T"]:
  if "policy" not in signal:
    return jnp.zeros(rows.tokens.shape, jnp.float32)
  stream = signal["policy"]
  return jnp.where(stream.weights[shown] > 0, stream.targets[shown], 0.0)


def run(experiment: Experiment, state: TrainState) -> tuple[TrainState, Report]:
  """`logging.every_iterations` iterations of all seeds as one program.

  Returns: the state, and reports with leading axes [iterations, seeds].
  """

  def step(state: TrainState, _):
    one = lambda seed: iteration(experiment, seed, state.iteration)
    seeds, report = over_seeds(one, experiment.config.num_seeds)(state.seeds)
    return TrainState(state.iteration + 1, seeds), report

  return jax.lax.scan(step, state, None, length=experiment.config.logging.every_iterations)
