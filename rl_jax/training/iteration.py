"""One iteration: prompts, rollout, verification, advantages, update. Pure; many run under scan, seeds under vmap."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32

from rl_jax.curricula.curriculum import Plan
from rl_jax.kernels.reductions import Mean
from rl_jax.methods.method import Signal
from rl_jax.rollouts.rollout import RolloutResult, collect
from rl_jax.training.contracts import checked_signal
from rl_jax.training.describing import describe
from rl_jax.training.experiment import Experiment
from rl_jax.training.objectives import outputs_in_buckets, update_of_method, updates_of_models, whole_trees
from rl_jax.training.optimizer import scale_of
from rl_jax.training.rollout_layout import generating
from rl_jax.training.seeds import over_seeds
from rl_jax.training.sizes import sizes_of
from rl_jax.training.state import (
  CURRICULUM,
  MODELS,
  ROLLOUT,
  UPDATE,
  RunState,
  TrainState,
  add_tokens,
  bind,
  bind_for_rollout,
  iteration_key,
  past_after,
)
from rl_jax.training.update import Update
from rl_jax.trajectories import Trajectories


class SampleRows(NamedTuple):
  """Rows written to samples.jsonl."""

  tokens: Int[Array, "n T"]
  attention_mask: Bool[Array, "n T"]
  rewards: Float[Array, " n"]
  """NaN where there is no verdict."""
  levels: Int[Array, " n"]
  credit: Float[Array, "n T"]
  """Advantages of the stream "policy" on tokens with weight; zeros if the method has no such stream."""


class Report(NamedTuple):
  """Metrics and samples of one iteration."""

  metrics: dict[str, Mean]
  generated_tokens: UInt32[Array, " 2"]
  """Count over the run so far; see `TrainState`."""
  skipped_in_a_row: Array
  unjudged: Bool[Array, ""]
  """True if rows were verified and none got a verdict."""
  samples: SampleRows


def run(experiment: Experiment, state: RunState) -> tuple[RunState, Report]:
  """Run `logging.every_iterations` iterations of all seeds as one program.

  Returns: the state, and reports with leading axes [iterations, seeds].
  """

  def iterate(state: RunState, _):
    one_step = functools.partial(step, experiment, number=state.iteration)
    seeds, report = over_seeds(one_step, experiment.config.num_seeds)(state.seeds)
    return RunState(state.iteration + 1, seeds), report

  return jax.lax.scan(iterate, state, None, length=experiment.config.logging.every_iterations)


def step(experiment: Experiment, seed: TrainState, number: int | Int[Array, ""]) -> tuple[TrainState, Report]:
  """One iteration of one seed, on device."""
  curriculum, result = make_batch(experiment, seed, number)
  return learn(experiment, seed.replace(curriculum=curriculum), result, number)


def make_batch(experiment: Experiment, seed: TrainState, number: int | Int[Array, ""]) -> tuple[Any, RolloutResult]:
  """First half of an iteration of a device task: the curriculum's new state, and the rollout of its plan."""
  plan, curriculum = make_plan(experiment, seed, iteration_key(seed, number, CURRICULUM))
  return curriculum, make_rows(experiment, seed, plan, iteration_key(seed, number, ROLLOUT))


def make_plan(experiment: Experiment, seed: TrainState, key: PRNGKeyArray) -> tuple[Plan, Any]:
  """Plan of one iteration, and the new state of the curriculum."""
  return experiment.method.curriculum.next(seed.curriculum, experiment.task, key)


def make_rows(experiment: Experiment, seed: TrainState, plan: Plan, key: PRNGKeyArray) -> RolloutResult:
  """The rollout of a device task, with verdicts."""
  with generating(experiment, bind_for_rollout(experiment, seed)) as models:
    phase_key = lambda index: jax.random.fold_in(key, index)
    return collect(experiment.method.rollout, models, seed.rollout, plan, experiment.task, "train", phase_key)


def learn(
  experiment: Experiment, seed: TrainState, result: RolloutResult, number: int | Int[Array, ""]
) -> tuple[TrainState, Report]:
  """Second half of an iteration: scores (after updates of models with their own loss), signal, update, curriculum.
  Host tasks enter here."""
  method, trees = experiment.method, result.trajectories.trees
  alone = updates_of_models(experiment, trees)
  rows = score(experiment, seed, result.trajectories, experiment.models.keys() - alone.keys())
  before, past = seed.skipped_in_a_row, past_after(experiment, seed)
  seed, own = _learn_alone(alone, seed, whole_trees(experiment, rows), number)
  rows = score(experiment, seed, rows, alone)
  signal = make_signal(experiment, rows, number)

  update = update_of_method(experiment, trees, bind(experiment, seed.models))
  key = iteration_key(seed, number, UPDATE)
  updated = update(seed.models, before, whole_trees(experiment, rows), signal.streams, key)
  trainers = {
    "ratio_error": Mean(updated.watched.ratio_error, jnp.float32(1.0)),
    "kl_to_behaviour": updated.watched.kl_to_behaviour,
    "learning_rate": Mean(_learning_rate(experiment, seed, number), jnp.float32(1.0)),
  }
  described = describe(experiment.task, rows)
  metrics = _joined(described, result.metrics, signal.metrics, own, updated.metrics, trainers)
  seed = seed.replace(
    models=updated.models,
    curriculum=method.curriculum.update(seed.curriculum, rows, signal),
    rollout=result.state,
    generated_tokens=add_tokens(seed.generated_tokens, result.generated_tokens),
    skipped_in_a_row=jnp.maximum(seed.skipped_in_a_row, updated.skipped_in_a_row),
    past=past,
  )
  samples = _samples(rows, signal, experiment.config.logging.samples)
  unjudged = rows.verified.any() & ~(rows.verified & rows.reward_mask).any()  # also of rows that a filter left out
  return seed, Report(metrics, seed.generated_tokens, seed.skipped_in_a_row, unjudged, samples)


def _joined(*parts: Mapping[str, Mean]) -> dict[str, Mean]:
  """The metrics of all roles. Raises ValueError: two of them have one name."""
  names = [name for part in parts for name in part]
  twice = sorted({name for name in names if names.count(name) > 1})
  if twice:
    raise ValueError(f"two roles report a metric {', '.join(twice)}: give one of them another name")
  return {name: mean for part in parts for name, mean in part.items()}


def score(experiment: Experiment, seed: TrainState, rows: Trajectories, among: Collection[str]) -> Trajectories:
  """The rows with the scores that the method reads from the models `among`, each run once before the update."""
  models = bind(experiment, seed.models)
  arrays = {array: output_of for array, output_of in experiment.method.scoring.items() if output_of[0] in among}
  names = {model: {output for of, output in arrays.values() if of == model} for model, _ in arrays.values()}
  outputs = {model: outputs_in_buckets(experiment, models[model], rows, names[model]) for model in sorted(names)}
  scored = {array: outputs[model][output] for array, (model, output) in arrays.items()}
  fields = {name: array for name, array in scored.items() if name in SCORED_FIELDS}
  return rows.replace(**fields).with_extras(**{name: x for name, x in scored.items() if name not in fields})


SCORED_FIELDS = ("old_logprobs", "ref_logprobs")
"""Fields of a batch that scores may set; other scores are extras."""


def make_signal(experiment: Experiment, rows: Trajectories, number: int | Int[Array, ""]) -> Signal:
  """The method's signal, without gradient."""
  iteration = cast("Array", number)  # a plain 0 when the program is lowered or timed alone
  function = experiment.method.signal
  return jax.lax.stop_gradient(checked_signal(function(rows, iteration), function, rows))


def _learn_alone(
  updates: Mapping[str, Update], seed: TrainState, rows: Trajectories, number: int | Int[Array, ""]
) -> tuple[TrainState, dict[str, Mean]]:
  """Updates of models with their own loss, and their metrics as <model>/<metric>.

  Each model counts its skipped updates from the count at the start of the iteration, and the largest is kept: success
  of one model does not hide failure of another.
  """
  before, skipped, metrics = seed.skipped_in_a_row, jnp.int32(0), dict[str, Mean]()
  for i, (name, update) in enumerate(updates.items()):
    key = jax.random.fold_in(iteration_key(seed, number, MODELS), i)
    updated = update(seed.models, before, rows, {}, key)
    seed, skipped = seed.replace(models=updated.models), jnp.maximum(skipped, updated.skipped_in_a_row)
    metrics |= {f"{name}/{key.removeprefix(f'{name}/')}": mean for key, mean in updated.metrics.items()}
  return seed.replace(skipped_in_a_row=skipped), metrics


def _learning_rate(experiment: Experiment, seed: TrainState, number: int | Int[Array, ""]) -> Array:
  """Learning rate of the policy at the first update of an iteration; 0 if the policy is not trained."""
  if "policy" not in experiment.schedules:
    return jnp.float32(0.0)
  rate = experiment.schedules["policy"](number * sizes_of(experiment.config).updates)
  return rate * scale_of(seed.models["policy"].optimizer)


def _samples(rows: Trajectories, signal: Signal, count: int) -> SampleRows:
  """A few rows, evenly spaced over the batch."""
  index = jnp.linspace(0, rows.tokens.shape[0] - 1, count, dtype=jnp.int32)
  samples = rows.rows(index)
  credit = jnp.zeros(samples.tokens.shape, jnp.float32)
  if "policy" in signal.streams:
    stream = signal.streams["policy"]
    credit = jnp.where(stream.weights[index] > 0, stream.targets[index], 0.0)
  rewards = jnp.where(samples.scored, samples.rewards, jnp.nan)
  return SampleRows(samples.tokens, samples.attention_mask, rewards, samples.extras["levels"], credit)
