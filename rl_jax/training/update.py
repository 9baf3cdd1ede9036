"""The update: epochs, minibatches and micro-batches; one division per term; steps that are not finite are skipped.

A batch is any pytree with a row axis that the loss and `Model.outputs(params, batch)` read.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rl_jax.kernels.reductions import Mean, densify
from rl_jax.methods.method import Loss, Outputs, Streams, Term
from rl_jax.models.model import Model, Params, merge
from rl_jax.training.lengths import Buckets
from rl_jax.training.optimizer import wide_params
from rl_jax.training.sizes import Sizes
from rl_jax.training.state import ModelState

Batch = Any
"""A pytree of arrays with leading axis B."""


class Watch(NamedTuple):
  """Measurements in the first step of an update, before any parameter has moved.

  Attributes:
    measure: (outputs, batch) of a micro-batch -> pytree.
    merge: stacked pytrees of all micro-batches -> one pytree.
  """

  measure: Callable[[Outputs, Batch], Any]
  merge: Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Objective:
  """Objective that an update minimises.

  Attributes:
    models: trained models by name.
    optimizers: optimisers of these models.
    loss: (outputs, batch, streams) -> Loss.
    watch: None: nothing.
  """

  models: Mapping[str, Model]
  optimizers: Mapping[str, optax.GradientTransformation]
  loss: Callable[[Outputs, Batch, Streams], Loss]
  watch: Watch | None = None


class _Rows(NamedTuple):
  """Rows of a part of the batch."""

  batch: Batch
  streams: Streams


class _Parts(NamedTuple):
  """Contribution of a micro-batch to its minibatch."""

  terms: dict[str, Mean]
  metrics: dict[str, Mean]
  watched: Any
  weighed: dict[str, Bool[Array, ""]] = {}  # noqa: RUF012
  """Models with a term of nonzero weight in the whole minibatch."""


class UpdateResult(NamedTuple):
  """Models after all updates of an iteration."""

  models: dict[str, ModelState]
  skipped_in_a_row: Array
  metrics: dict[str, Mean]
  watched: Any
  """Measured on the first minibatch, before any update; None without a `watch`."""


Update = Callable[[Mapping[str, ModelState], Array, Batch, Streams, PRNGKeyArray], UpdateResult]
"""(models, updates skipped in a row, batch, streams, key)"""


def make_update(
  objective: Objective,
  sizes: Sizes,
  *,
  group_ids: Callable[[Batch], Int[Array, " B"]],
  buckets: Buckets | None = None,
) -> Update:
  """Update of an objective: `epochs` passes, each of `minibatches_per_epoch` steps over newly shuffled rows or groups.

  Args:
    group_ids: batch -> group ids of its rows, for minibatches of whole groups.
    buckets: sorts the rows of a minibatch and runs each micro-batch in its own layout; None: all rows run all slots.

  Raises, when it is traced: UserError: rows do not divide evenly into minibatches, micro-batches and shards.
  """

  def update(models, skipped_in_a_row, batch, streams, key) -> UpdateResult:
    rows = jax.tree.leaves(batch)[0].shape[0]
    sizes.check(rows)
    everything = _Rows(batch, streams)

    def step(carry, index: Array):
      models, skipped = carry
      part = everything if index.shape[0] == rows else jax.tree.map(lambda x: jnp.take(x, index, axis=0), everything)
      params = {name: models[name].params for name in objective.models}
      (loss, parts), grads = gradient(objective, sizes, params, part, buckets)
      stepped, norms, arrived = _apply(objective, sizes, models, grads)
      finite = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(grads)) & arrived
      models = models | {name: _where(finite & parts.weighed[name], stepped[name], models[name]) for name in stepped}
      losses = {f"loss/{name}": mean for name, mean in parts.terms.items()}
      left_out = {"skipped_updates": Mean(1.0 - finite.astype(jnp.float32), jnp.float32(1.0))}
      metrics = parts.metrics | losses | norms | left_out
      return (models, jnp.where(finite, 0, skipped + 1)), (metrics, parts.watched)

    groups = group_ids(batch) if sizes.group else None
    order = _order(key, rows, sizes.epochs, sizes.minibatches_per_epoch, groups)
    (models, skipped_in_a_row), (metrics, watched) = jax.lax.scan(step, (dict(models), skipped_in_a_row), order)
    return UpdateResult(
      models=models,
      skipped_in_a_row=skipped_in_a_row,
      metrics=jax.tree.map(lambda x: x.sum(axis=0), metrics),
      watched=jax.tree.map(lambda x: x[0], watched),
    )

  return update


def gradient(
  objective: Objective,
  sizes: Sizes,
  params: Mapping[str, Params],
  rows: _Rows,
  buckets: Buckets | None = None,
) -> tuple[tuple[Float[Array, ""], _Parts], dict[str, Params]]:
  """Loss, gradient and parts of one minibatch, the same with or without micro-batches.

  Returns: ((loss, parts), gradient of the trained parameters by model, in `gradient_dtype`).
  """
  size = jax.tree.leaves(rows.batch)[0].shape[0]
  count = size // sizes.part_of_minibatch(size)
  terms = _terms(objective, params, rows)
  weights, weighed = {name: term.mean.weight for name, term in terms.items()}, _models_with_weight(objective, terms)
  trained = {name: objective.models[name].trained(params[name]) for name in params}
  dtype = jnp.dtype(sizes.gradient_dtype)

  differentiated = jax.value_and_grad(_loss, has_aux=True)
  narrowed = lambda grads: jax.tree.map(lambda x: x.astype(dtype), grads)
  if count == 1:
    (loss, parts), grads = differentiated(trained, params, objective, rows, weights)
    return (loss, parts._replace(weighed=weighed)), narrowed(grads)

  def in_one_layout(batch, streams):
    return differentiated(trained, params, objective, _Rows(batch, streams), weights)

  if buckets is not None:
    order = buckets.order(rows.batch)
    rows = jax.tree.map(lambda x: jnp.take(x, order, axis=0), rows)

  def micro(total, rows):
    run = in_one_layout if buckets is None else functools.partial(buckets.switch, in_one_layout)
    (loss, parts), grads = run(rows.batch, rows.streams)
    return jax.tree.map(jnp.add, total, (loss, narrowed(grads))), parts

  zero = (jnp.float32(0.0), jax.tree.map(lambda x: jnp.zeros(x.shape, dtype), trained))
  split = jax.tree.map(lambda x: x.reshape(count, x.shape[0] // count, *x.shape[1:]), rows)
  (loss, grads), parts = jax.lax.scan(micro, zero, split)
  summed = jax.tree.map(lambda x: x.sum(axis=0), parts._replace(watched=None))
  watched = None if objective.watch is None else objective.watch.merge(parts.watched)
  return (loss, summed._replace(watched=watched, weighed=weighed)), grads


def _terms(objective: Objective, params: Mapping[str, Params], rows: _Rows) -> dict[str, Term]:
  """Terms of a minibatch, for their weights, which by contract do not depend on outputs."""
  shapes = jax.eval_shape(lambda: _outputs(objective, params, rows.batch))
  nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  return objective.loss(nothing, rows.batch, rows.streams).terms


def _models_with_weight(objective: Objective, terms: Mapping[str, Term]) -> dict[str, Bool[Array, ""]]:
  """Return for each model whether it has a term of nonzero weight."""
  weight = lambda name: sum(jnp.abs(term.mean.weight) for term in terms.values() if term.trains in (None, name))
  return {name: jnp.asarray(weight(name)) != 0 for name in objective.models}


def _where(condition: Bool[Array, ""], new: ModelState, old: ModelState) -> ModelState:
  return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def _outputs(objective: Objective, params: Mapping[str, Params], batch: Batch) -> Outputs:
  return {name: model.outputs(params[name], batch) for name, model in objective.models.items()}


def _loss(trained, params, objective: Objective, rows: _Rows, weights) -> tuple[Float[Array, ""], _Parts]:
  """Share of a micro-batch in the minibatch's loss: sum over terms of coefficient * sum / the minibatch's weight.

  Args:
    trained: differentiated parameters of each model.
    params: all parameters.
  """
  outputs = _outputs(objective, {name: merge(trained[name], params[name]) for name in params}, rows.batch)
  loss = objective.loss(outputs, rows.batch, rows.streams)
  shares = [term.coefficient * Mean(term.mean.sum, weights[name]).value for name, term in loss.terms.items()]
  total = sum(shares, 0.0)
  terms = {name: term.mean for name, term in loss.terms.items()}
  watched = None if objective.watch is None else objective.watch.measure(outputs, rows.batch)
  return jnp.asarray(total), jax.lax.stop_gradient(_Parts(terms, loss.metrics, watched))


def _apply(
  objective: Objective, sizes: Sizes, models: dict[str, ModelState], grads
) -> tuple[dict, dict[str, Mean], Bool[Array, ""]]:
  """One optimiser step of every model with a gradient. Also returns the norms of gradients, updates and parameters, and
  whether all parameters are finite, which their norm shows."""
  stepped, norms, finite = {}, {}, jnp.bool_(True)
  for name in grads:
    model = models[name]
    trained = objective.models[name].trained(model.params)
    updates, state = objective.optimizers[name].update(grads[name], model.optimizer, trained)
    moved = optax.apply_updates(trained, updates)
    params = merge(moved, model.params)
    step = 1.0 - sizes.parameter_average
    wide = wide_params(state, moved)
    average = None if model.average is None else optax.incremental_update(wide, model.average, step)
    stepped[name] = ModelState(params, state, average)
    prefix = "" if name == "policy" else f"{name}/"
    for kind, tree in (("gradient", grads[name]), ("update", updates), ("parameter", params)):
      norms[f"{prefix}{kind}_norm"] = Mean(optax.tree.norm(tree), jnp.float32(1.0))
    finite &= jnp.isfinite(norms[f"{prefix}parameter_norm"].sum)
  return stepped, norms, finite


def _order(
  key: PRNGKeyArray, rows: int, epochs: int, minibatches: int, groups: Int[Array, " B"] | None = None
) -> Array:
  """Row indices of each step, [epochs * minibatches, rows of a minibatch].

  Args:
    groups: group ids; rows of a group stay adjacent. Groups of equal size that divides the minibatch are never split.
  """

  def shuffle(epoch):
    order = jax.random.permutation(jax.random.fold_in(key, epoch), rows)
    if groups is None:
      return order
    # Each group is placed at its first row.
    first = jax.ops.segment_min(jnp.argsort(order), densify(groups), num_segments=rows)
    return jnp.argsort(first[densify(groups)], stable=True)

  return jax.vmap(shuffle)(jnp.arange(epochs)).reshape(epochs * minibatches, rows // minibatches)
