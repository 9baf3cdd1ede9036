"""Everything that affects the rest of a run, as arrays."""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt32

from rl_jax.models import lora
from rl_jax.models.model import Params, merge
from rl_jax.rollouts.rollout import BoundModel, Models
from rl_jax.training.experiment import Experiment
from rl_jax.training.optimizer import with_scale
from rl_jax.training.seeds import member_scales, member_seeds

INIT, MODELS, CURRICULUM, ROLLOUT, UPDATE, EVALUATION = 0, 1, 2, 3, 5, 6
"""Roles that keys are folded with; 4 was one that is gone, and runs are to be repeated."""


class ModelState(flax.struct.PyTreeNode):
  """One model of one seed. A frozen model has neither optimiser nor average."""

  params: Params
  """Of a frozen model without adapters, and with None in place of those that it borrows: see `bind`."""
  optimizer: Any = None
  average: Params | None = None
  """Exponential moving average of the trained parameters, where the config asks for one; None in place of others."""

  @property
  def evaluated(self) -> Params:
    """The parameters that evaluation uses, and other runs start from: the average, where there is one."""
    return self.params if self.average is None else merge(self.average, self.params)


class SeedState(flax.struct.PyTreeNode):
  """One seed of a run."""

  root_key: UInt32[Array, " 2"]
  """Raw key data: typed keys do not serialise."""
  models: dict[str, ModelState]
  curriculum: Any
  rollout: Any
  generated_tokens: UInt32[Array, " 2"]
  """All tokens that the seed has generated, of whatever use: the high and the low word of a number."""
  skipped_in_a_row: Int[Array, ""]
  """Updates left out, one after the other, because loss or gradient was not finite."""


class TrainState(flax.struct.PyTreeNode):
  """A run: all seeds, with a leading axis, at one iteration."""

  iteration: Int[Array, ""]
  """Iterations done."""
  seeds: SeedState


def add_tokens(total: UInt32[Array, " 2"], more: Int[Array, ""]) -> UInt32[Array, " 2"]:
  """A number of tokens in two words and some more; JAX counts in 32 bits, and a long run goes beyond them."""
  low = total[1] + more.astype(jnp.uint32)
  return jnp.stack([total[0] + (low < total[1]), low])


def token_count(total: UInt32[np.ndarray, "*B 2"]) -> np.ndarray:
  """Numbers in two words as int64."""
  return (total[..., 0].astype(np.int64) << 32) + total[..., 1].astype(np.int64)


def iteration_key(seed: SeedState, iteration, role: int):
  """The key of a role in an iteration: fold_in(fold_in(root, iteration), role)."""
  root = jax.random.wrap_key_data(seed.root_key)
  return jax.random.fold_in(jax.random.fold_in(root, iteration), role)


def bind(experiment: Experiment, models: dict[str, ModelState]) -> Models:
  """Models with their parameters of the moment.

  A frozen model has no adapters. One that starts from a trained model borrows what that one never moves: with adapters
  it is the trained model with its adapters switched off, and no second copy.
  """
  roles = experiment.method.models

  def bound(name: str) -> BoundModel:
    model, params = experiment.models[name], models[name].params
    if roles[name].trained:
      return BoundModel(model, params)
    lender = _lender(experiment, name)
    whole = params if lender is None else merge(params, lora.without(models[lender].params))
    return BoundModel(model.base, whole)

  return {name: bound(name) for name in experiment.models}


def _lender(experiment: Experiment, name: str) -> str | None:
  """The trained model of the same make that a frozen one starts from; None: there is none."""
  roles, models = experiment.method.models, experiment.models
  start = roles[name].starts_from
  return start if start is not None and roles[start].trained and models[start].base == models[name].base else None


def init_seed(experiment: Experiment, seed, policy: Params | None) -> SeedState:
  """The state of one seed before its first iteration, parameters boxed with logical axes.

  Args:
    policy: parameters without adapters that the policy starts with (a warm start); None: a fresh draw.
  """
  root = jax.random.key(seed)
  key = jax.random.fold_in(root, INIT)
  roles = experiment.method.models
  of_role = functools.partial(jax.random.fold_in, key)
  each = lambda role, named: {
    name: part.init(jax.random.fold_in(of_role(role), i)) for i, (name, part) in enumerate(named.items())
  }
  params = each(MODELS, experiment.models)
  if policy is not None:
    params["policy"] = nn.meta.replace_boxed(params["policy"], lora.onto(policy, nn.unbox(params["policy"])))
  for name, role in roles.items():
    if role.starts_from is not None:
      params[name] = _taken_over(params[name], params[role.starts_from])

  def model_state(name: str) -> ModelState:
    if not roles[name].trained:
      lender = _lender(experiment, name)
      own = params[name] if lender is None else experiment.models[lender].trained(params[name])
      return ModelState(lora.without(own))
    trained = experiment.models[name].trained(params[name])
    average = trained if experiment.config.optimizer.parameter_average else None
    return ModelState(params[name], experiment.optimizers[name].init(trained), average)

  method = experiment.method
  return SeedState(
    root_key=jax.random.key_data(root),
    models={name: model_state(name) for name in params},
    curriculum=method.curriculum.init(of_role(CURRICULUM)),
    rollout=method.rollout.init(of_role(ROLLOUT)),
    generated_tokens=jnp.zeros(2, jnp.uint32),
    skipped_in_a_row=jnp.int32(0),
  )


def _taken_over(own: Params, other: Params) -> Params:
  """`own` with the parameters of `other` that have the same name and shape: an output layer may be tied in one only."""
  given = {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(other)}

  def choose(path, x):
    found = given.get(jax.tree_util.keystr(path))
    return x if found is None or found.shape != x.shape else found

  return jax.tree_util.tree_map_with_path(choose, own)


def init(experiment: Experiment, policy: Params | None = None) -> TrainState:
  """All members, see training/seeds.py.

  Args:
    policy: as for `init_seed`, with a leading axis of starts, which the seeds take in turn.
  """
  config = experiment.config
  numbers, scales = jnp.asarray(member_seeds(config)), jnp.asarray(member_scales(config))

  def one(seed, scale, policy):
    state = nn.unbox(init_seed(experiment, seed, policy))
    scaled = lambda model: model.replace(optimizer=with_scale(model.optimizer, scale))
    return state.replace(models={name: scaled(model) for name, model in state.models.items()})

  if policy is None:
    seeds = jax.vmap(lambda seed, scale: one(seed, scale, None))(numbers, scales)
  else:
    starts = jax.tree.leaves(policy)[0].shape[0]
    shared = starts == 1
    taken = (member_seeds(config) - config.seed) % starts
    policy = jax.tree.map(lambda x: x[0] if shared else x[taken], policy)
    seeds = jax.vmap(one, in_axes=(0, 0, None if shared else 0))(numbers, scales, policy)
  return TrainState(iteration=jnp.int32(0), seeds=seeds)
