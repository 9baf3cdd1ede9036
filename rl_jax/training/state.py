"""Everything that affects the rest of a run, as arrays."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, UInt32

from rl_jax.models import lora
from rl_jax.models.model import Model, Params, merge
from rl_jax.rollouts.rollout import BoundModel, Models
from rl_jax.training.experiment import Experiment
from rl_jax.training.optimizer import averages, with_scale
from rl_jax.training.seeds import member_scales, member_seeds

INIT, MODELS, CURRICULUM, ROLLOUT, UPDATE, EVALUATION = 0, 1, 2, 3, 5, 6
"""Roles that keys are folded with. 4 belonged to a removed role and stays unused, so that runs can be repeated."""


Starts = Mapping[str, Params]
"""Parameters by role."""


class ModelState(flax.struct.PyTreeNode):
  """One model of one seed. A frozen model has neither optimiser nor average."""

  params: Params
  """Parameters. A frozen model has no adapters, and None in place of those that it borrows: see `bind`."""
  optimizer: Any = None
  average: Params | None = None
  """Exponential moving average of the trained parameters, where the config asks for one; None in place of others."""

  @property
  def evaluated(self) -> Params:
    """The parameters that evaluation uses, and other runs start from: the average, where there is one."""
    if self.average is None:
      return self.params
    # An average may be wider than the parameters that it is of.
    stored = lambda average, param: None if average is None else average.astype(param.dtype)
    return merge(jax.tree.map(stored, self.average, self.params, is_leaf=lambda x: x is None), self.params)


class TrainState(flax.struct.PyTreeNode):
  """One seed of a run."""

  root_key: UInt32[Array, " 2"]
  """Raw key data: typed keys do not serialise."""
  models: dict[str, ModelState]
  curriculum: Any
  rollout: Any
  generated_tokens: UInt32[Array, " 2"]
  """Number of all tokens that the seed has generated, used or not, as a high and a low word."""
  skipped_in_a_row: Int[Array, ""]
  """Consecutive updates left out because they were not finite; the largest count over losses."""
  past: tuple[Params, ...] = ()
  """The policy's trained parameters before each of the last `staleness` iterations, the oldest first."""


class RunState(flax.struct.PyTreeNode):
  """A run: all seeds, with a leading axis, at one iteration."""

  iteration: Int[Array, ""]
  """Iterations done."""
  seeds: TrainState


def add_tokens(total: UInt32[Array, " 2"], more: Int[Array, ""]) -> UInt32[Array, " 2"]:
  """Add to a number of tokens in two words: JAX counts in 32 bits, and a long run exceeds them."""
  low = total[1] + more.astype(jnp.uint32)
  return jnp.stack([total[0] + (low < total[1]), low])


def token_count(total: UInt32[np.ndarray, "*B 2"]) -> np.ndarray:
  """Numbers in two words as int64."""
  return (total[..., 0].astype(np.int64) << 32) + total[..., 1].astype(np.int64)


def iteration_key(seed: TrainState, iteration: int | Int[Array, ""], role: int) -> PRNGKeyArray:
  """The key of a role in an iteration: fold_in(fold_in(root, iteration), role)."""
  root = jax.random.wrap_key_data(seed.root_key)
  return jax.random.fold_in(jax.random.fold_in(root, iteration), role)


def bind(experiment: Experiment, models: dict[str, ModelState]) -> Models:
  """Models with their current parameters.

  A frozen model has no adapters. One that starts from a trained model borrows what that one never moves: with adapters
  it is the trained model with its adapters switched off, and no second copy.
  """
  roles = experiment.method.models

  def bound(name: str) -> BoundModel:
    model, params = experiment.models[name], models[name].params
    if roles[name].trained:
      return BoundModel(model, params)
    lender = _lender(experiment, name)
    merged = params if lender is None else merge(params, lora.without(models[lender].params))
    return BoundModel(model.base, merged)

  return {name: bound(name) for name in experiment.models}


def bind_for_rollout(experiment: Experiment, seed: TrainState) -> Models:
  """The models that make responses: with `staleness` the policy is the one of so many iterations ago."""
  if not seed.past:
    return bind(experiment, seed.models)
  policy = seed.models["policy"]
  stale = policy.replace(params=merge(seed.past[0], policy.params))
  return bind(experiment, seed.models | {"policy": stale})


def past_after(experiment: Experiment, seed: TrainState) -> tuple[Params, ...]:
  """`TrainState.past` after an iteration that began with this state."""
  if not seed.past:
    return ()
  return (*seed.past[1:], experiment.models["policy"].trained(seed.models["policy"].params))


def _lender(experiment: Experiment, name: str) -> str | None:
  """Name of the trained model whose weights this frozen model shares, or None."""
  roles, models = experiment.method.models, experiment.models
  start = roles[name].init_from
  return start if start in roles and roles[start].trained and _alike(models[start], models[name]) else None


def _alike(left: Model, right: Model) -> bool:
  """Return whether two models have the same parameters, adapters apart."""
  return left.base.config == right.base.config


def init_params(experiment: Experiment, seed: int | Int[Array, ""], starts: Starts | None = None) -> dict[str, Params]:
  """The parameters that one seed's models start with, boxed with logical axes.

  Args:
    starts: parameters without adapters that models start with (a warm start), by role; others are drawn anew, or
      taken over from another role.
  """
  key = jax.random.fold_in(_init_key(seed), MODELS)
  roles = experiment.method.models
  fresh = {name: model.init(jax.random.fold_in(key, i)) for i, (name, model) in enumerate(experiment.models.items())}
  for name, start_params in (starts or {}).items():
    fresh[name] = nn.meta.replace_boxed(fresh[name], lora.onto(start_params, nn.unbox(fresh[name])))

  @functools.cache
  def start(name: str) -> Params:
    source = roles[name].init_from
    return _taken_over(fresh[name], start(source)) if source in roles else fresh[name]

  params = {name: start(name) for name in fresh}
  initial = experiment.method.initial(nn.unbox(params))
  return {name: nn.meta.replace_boxed(params[name], initial[name]) for name in params}


def _init_key(seed: int | Int[Array, ""]) -> PRNGKeyArray:
  return jax.random.fold_in(jax.random.key(seed), INIT)


def init_seed(experiment: Experiment, seed: int | Int[Array, ""], starts: Starts | None = None) -> TrainState:
  """The state of one seed before its first iteration, parameters boxed with logical axes.

  Args:
    starts: as for `init_params`.
  """
  roles = experiment.method.models
  params = init_params(experiment, seed, starts)

  def model_state(name: str) -> ModelState:
    if not roles[name].trained:
      lender = _lender(experiment, name)
      own = params[name] if lender is None else experiment.models[lender].trained(params[name])
      return ModelState(lora.without(own))
    trained = experiment.models[name].trained(params[name])
    section = experiment.config.optimizer
    average = averages(section, trained) if section.parameter_average else None
    return ModelState(params[name], experiment.optimizers[name].init(trained), average)

  method, key_of = experiment.method, functools.partial(jax.random.fold_in, _init_key(seed))
  staleness = experiment.config.get("staleness", 0) if roles["policy"].trained else 0
  return TrainState(
    root_key=jax.random.key_data(jax.random.key(seed)),
    models={name: model_state(name) for name in params},
    curriculum=method.curriculum.init(key_of(CURRICULUM)),
    rollout=method.rollout.init(key_of(ROLLOUT)),
    generated_tokens=jnp.zeros(2, jnp.uint32),
    skipped_in_a_row=jnp.int32(0),
    past=(experiment.models["policy"].trained(params["policy"]),) * staleness,
  )


def _taken_over(own: Params, other: Params) -> Params:
  """`own` with the parameters of `other` that have the same name and shape: an output layer may be tied in one only."""
  by_path = {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(other)}

  def choose(path, x):
    source = by_path.get(jax.tree_util.keystr(path))
    return x if source is None or source.shape != x.shape else source

  return jax.tree_util.tree_map_with_path(choose, own)


def init(experiment: Experiment, starts: Starts | None = None) -> RunState:
  """All members, see training/seeds.py.

  Args:
    starts: as for `init_seed`, with a leading axis of starts, which the seeds take in turn.
  """
  config = experiment.config
  numbers, scales = jnp.asarray(member_seeds(config)), jnp.asarray(member_scales(config))

  def one(seed, scale, starts):
    state = nn.unbox(init_seed(experiment, seed, starts))
    scaled = lambda model: model.replace(optimizer=with_scale(model.optimizer, scale))
    return state.replace(models={name: scaled(model) for name, model in state.models.items()})

  params_of: dict[str, Params] = {}
  axes: dict[str, int | None] = {}
  for name, params in (starts or {}).items():
    count = jax.tree.leaves(params)[0].shape[0]
    shared, index = count == 1, (member_seeds(config) - config.seed) % count
    axes[name] = None if shared else 0
    params_of[name] = jax.tree.map(lambda x, shared=shared, index=index: x[0] if shared else x[index], params)
  seeds = jax.vmap(one, in_axes=(0, 0, axes))(numbers, scales, params_of)
  return RunState(iteration=jnp.int32(0), seeds=seeds)
