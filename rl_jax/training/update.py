"""The update: epochs, minibatches, micro-batches; one division per term; no step on a gradient that is not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from kernels.losses.kl import kl
from kernels.reductions import Mean, aggregate, densify
from rl_jax.methods.method import Loss, Outputs, Signal
from rl_jax.models.model import OUTPUTS, merge
from rl_jax.training import mesh
from rl_jax.training.experiment import Experiment, check_rows
from rl_jax.training.state import ModelState
from rl_jax.trajectories import POLICY, Trajectories


class Gap(NamedTuple):
  """How far the trainer's logprobs of the policy's own tokens are from the sampler's."""

  ratio_error: Float[Array, ""]
  """max over tokens of |pi / pi_old - 1| / max(1, |log pi_old|): rounding of a logprob grows with it."""
  kl_to_behaviour: Mean
  """k3 estimate of KL(behaviour || policy): of the sampled distribution, so truncation counts."""


class Objective(NamedTuple):
  """What an update minimises."""

  models: tuple[str, ...]
  """Those that it trains."""
  loss: Callable[[Outputs, Trajectories, Signal], Loss]


def of_method(experiment: Experiment) -> Objective:
  """The method's loss, which trains all models without one of their own."""
  roles = experiment.method.models
  names = tuple(name for name, role in roles.items() if role.trained and role.own_loss is None)
  return Objective(names, experiment.method.loss)


def of_models(experiment: Experiment) -> dict[str, Objective]:
  """The losses that models have of their own, by model."""

  def alone(own_loss: Callable[[Outputs, Trajectories], Loss]) -> Callable[[Outputs, Trajectories, Signal], Loss]:
    return lambda outputs, trajectories, signal: own_loss(outputs, trajectories)

  roles = experiment.method.models
  return {name: Objective((name,), alone(role.own_loss)) for name, role in roles.items() if role.own_loss is not None}


class _Parts(NamedTuple):
  """What a micro-batch adds to its minibatch."""

  terms: dict[str, Mean]
  metrics: dict[str, Mean]
  gap: Gap


class _Batch(NamedTuple):
  trajectories: Trajectories
  signal: Signal


def _gap(logprobs: Float[Array, "B T"], trajectories: Trajectories) -> Gap:
  mask = trajectories.trained & (trajectories.source_ids == POLICY)
  difference = jnp.where(mask, logprobs - trajectories.old_logprobs, 0.0)
  # KL of the behaviour policy from its own samples: x = log(policy / behaviour), E[e^x - x - 1].
  divergence = kl(trajectories.behaviour_logprobs, logprobs, mask, value="k3")
  rounding = jnp.where(mask, jnp.maximum(1.0, jnp.abs(trajectories.old_logprobs)), 1.0)
  return Gap(
    (jnp.abs(jnp.expm1(difference)) / rounding).max(initial=0.0),
    aggregate(divergence, mask.astype(jnp.float32), mode="token_mean"),
  )


def _term_weights(experiment: Experiment, objective: Objective, batch: _Batch) -> dict[str, Array]:
  """Weight of each term over a minibatch. By contract it does not depend on outputs, so any will do."""
  nothing = jnp.zeros(batch.trajectories.tokens.shape, jnp.float32)
  roles = experiment.method.models
  outputs = {name: dict.fromkeys(OUTPUTS[roles[name].kind], nothing) for name in objective.models}
  terms = objective.loss(outputs, batch.trajectories, batch.signal).terms
  return {name: term.mean.weight for name, term in terms.items()}


def _loss(
  trained, params, experiment: Experiment, objective: Objective, batch: _Batch, weights
) -> tuple[Float[Array, ""], _Parts]:
  """Share of a micro-batch in the minibatch's loss: sum over terms of coefficient * sum / the minibatch's weight.

  Args:
    trained: the part of each model's parameters that is differentiated.
    params: all parameters.
  """
  trajectories = batch.trajectories
  outputs = {
    name: experiment.models[name].outputs(
      merge(trained[name], params[name]), trajectories.tokens, trajectories.positions, trajectories.attention_mask
    )
    for name in params
  }
  loss = objective.loss(outputs, trajectories, batch.signal)
  total = sum(term.coefficient * Mean(term.mean.sum, weights[name]).value for name, term in loss.terms.items())
  terms = {name: term.mean for name, term in loss.terms.items()}
  policy = outputs.get("policy", {"logprobs": trajectories.old_logprobs})  # not trained here: no gap
  gap = _gap(policy["logprobs"], trajectories)
  return jnp.asarray(total), jax.lax.stop_gradient(_Parts(terms, loss.metrics, gap))


def _split(tree, parts: int):
  """Rows in `parts` equal runs, leading."""
  return jax.tree.map(lambda x: x.reshape(parts, x.shape[0] // parts, *x.shape[1:]), tree)


def _merge(parts: _Parts) -> _Parts:
  """Parts stacked along a leading axis, as one."""
  summed = jax.tree.map(lambda x: x.sum(axis=0), parts)
  return summed._replace(gap=summed.gap._replace(ratio_error=parts.gap.ratio_error.max(axis=0)))


def gradient(experiment: Experiment, objective: Objective, params, batch: _Batch):
  """Loss, gradient and parts of one minibatch; micro-batches give the same as the whole.

  Returns: ((loss, parts), gradient of the trained parameters by model, in `optimizer.gradient_dtype`).
  """
  rows = batch.trajectories.tokens.shape[0]
  weights = _term_weights(experiment, objective, batch)
  trained = {name: experiment.models[name].trained(params[name]) for name in params}
  dtype = jnp.dtype(experiment.config.optimizer.gradient_dtype)
  count = rows // (experiment.config.rows_per_microbatch or rows)

  def differentiate(batch):
    value, grads = jax.value_and_grad(_loss, has_aux=True)(trained, params, experiment, objective, batch, weights)
    return value, jax.tree.map(lambda x: x.astype(dtype), grads)

  if count == 1:
    return differentiate(batch)

  def micro(total, batch):
    (loss, parts), grads = differentiate(batch)
    return jax.tree.map(jnp.add, total, (loss, grads)), parts

  zero = (jnp.float32(0.0), jax.tree.map(lambda x: jnp.zeros(x.shape, dtype), trained))
  (loss, grads), parts = jax.lax.scan(micro, zero, _split(batch, count))
  return (loss, _merge(parts)), grads


def _apply(experiment: Experiment, models: dict[str, ModelState], grads) -> tuple[dict[str, ModelState], dict]:
  """One optimiser step of every model with a gradient, and the norms of gradients, updates and parameters."""
  decay = experiment.config.optimizer.parameter_average
  stepped, norms = dict(models), {}
  for name in grads:
    optimizer, model = experiment.optimizers[name], models[name]
    trained = experiment.models[name].trained(model.params)
    updates, state = optimizer.update(grads[name], model.optimizer, trained)
    moved = optax.apply_updates(trained, updates)
    params = merge(moved, model.params)
    average = None if model.average is None else optax.incremental_update(moved, model.average, 1.0 - decay)
    stepped[name] = ModelState(params, state, average)
    prefix = "" if name == "policy" else f"{name}/"
    for kind, tree in (("gradient", grads[name]), ("update", updates), ("parameter", params)):
      norms[f"{prefix}{kind}_norm"] = Mean(optax.tree.norm(tree), jnp.float32(1.0))
  return stepped, norms


class Updated(NamedTuple):
  """Models after all updates of an iteration."""

  models: dict[str, ModelState]
  skipped_in_a_row: Array
  metrics: dict[str, Mean]
  gap: Gap
  """Of the first minibatch, whose parameters are those that sampled."""
  first_clip_fraction: Mean
  """Of the first minibatch; weight 0 where the method has none."""


def update(
  experiment: Experiment,
  objective: Objective,
  models: dict[str, ModelState],
  skipped_in_a_row: Array,
  trajectories: Trajectories,
  signal: Signal,
  key: PRNGKeyArray,
) -> Updated:
  """`epochs` passes over the rows, each in `minibatches_per_epoch` steps over rows shuffled anew."""
  config, rows = experiment.config, trajectories.tokens.shape[0]
  check_rows(config, rows, mesh.batch_shards(jax.sharding.get_abstract_mesh(), experiment.rules))
  batch = _Batch(trajectories, signal)

  def step(carry, index: Array):
    models, skipped = carry
    part = batch if index.shape[0] == rows else jax.tree.map(lambda x: jnp.take(x, index, axis=0), batch)
    params = {name: models[name].params for name in objective.models}
    (loss, parts), grads = gradient(experiment, objective, params, part)
    finite = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(grads))
    stepped, norms = _apply(experiment, models, grads)
    models = jax.tree.map(lambda new, old: jnp.where(finite, new, old), stepped, models)
    losses = {f"loss/{name}": mean for name, mean in parts.terms.items()}
    left_out = {"skipped_updates": Mean(1.0 - finite.astype(jnp.float32), jnp.float32(1.0))}
    metrics = parts.metrics | losses | norms | left_out
    return (models, jnp.where(finite, 0, skipped + 1)), (metrics, parts.gap)

  whole_groups = config.get("minibatches_of", "rows") == "groups"
  groups = trajectories.group_ids if whole_groups else None
  steps = _order(key, rows, config.epochs, config.minibatches_per_epoch, groups)
  (models, skipped_in_a_row), (metrics, gaps) = jax.lax.scan(step, (models, skipped_in_a_row), steps)
  first = lambda tree: jax.tree.map(lambda x: x[0], tree)
  nothing = Mean(jnp.float32(0.0), jnp.float32(0.0))
  return Updated(
    models=models,
    skipped_in_a_row=skipped_in_a_row,
    metrics=jax.tree.map(lambda x: x.sum(axis=0), metrics),
    gap=first(gaps),
    first_clip_fraction=first(metrics["clip_fraction"]) if "clip_fraction" in metrics else nothing,
  )


def _order(
  key: PRNGKeyArray, rows: int, epochs: int, minibatches: int, groups: Int[Array, " B"] | None = None
) -> Array:
  """Row indices of each step, [epochs * minibatches, rows of a minibatch].

  Args:
    groups: ids of rows that stay next to one another. Groups of one size, a divisor of the minibatch, are never split;
      others may be.
  """

  def shuffle(epoch):
    order = jax.random.permutation(jax.random.fold_in(key, epoch), rows)
    if groups is None:
      return order
    # Each group stands where the first of its rows has come.
    first = jax.ops.segment_min(jnp.argsort(order), densify(groups), num_segments=rows)
    return jnp.argsort(first[densify(groups)], stable=True)

  return jax.vmap(shuffle)(jnp.arange(epochs)).reshape(epochs * minibatches, rows // minibatches)
