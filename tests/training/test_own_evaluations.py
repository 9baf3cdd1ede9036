"""What a method adds to a run's start and to its evaluation: parameters made of several starts, metrics of its own."""

from __future__ import annotations

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax import evaluate
from rl_jax.kernels.reductions import Mean
from rl_jax.launching import initialization
from rl_jax.methods import grpo
from rl_jax.methods.method import ModelRole
from rl_jax.training import evaluation, mesh
from rl_jax.training.trainer import Trainer
from tests.training import small


def merged(config, task):
  """GRPO from the mean of the policy and a second model, with an evaluation of how far they are apart."""
  base = grpo.build(config, task)

  def initial(params):
    mean = jax.tree.map(lambda a, b: (a + b) / 2, params["policy"], params["other"])
    return params | {"policy": mean}

  def distance(models, key):
    apart = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), models["policy"].params, models["other"].params)
    return {"squared": Mean(sum(jax.tree.leaves(apart)), jnp.float32(1.0)), "drawn": Mean(jax.random.uniform(key), 1.0)}

  models = {**base.models, "other": ModelRole(trained=False)}
  return dataclasses.replace(base, models=models, initial=initial, evaluations={"distance": distance})


def trainer_of():
  role = types.SimpleNamespace(get_config=grpo.get_config, build=merged)
  experiment = initialization.build(small.make_config(**{"method": "grpo"}))
  own = dataclasses.replace(experiment, method=role.build(experiment.config, experiment.task))
  own = dataclasses.replace(own, models={name: experiment.models["policy"] for name in own.method.models})
  return Trainer(own, mesh.make_mesh(own.config.mesh))


def test_a_run_starts_from_what_the_method_makes_of_its_starts():
  trainer = trainer_of()
  models = trainer.state.seeds.models
  drawn = lambda name: jax.tree.leaves(models[name].params)
  for policy, other in zip(drawn("policy"), drawn("other"), strict=True):
    assert np.all(np.isfinite(policy)) and policy.shape == other.shape
  # (p + o) / 2 - o = (p - o) / 2: the two are half as far apart as two draws, which are far.
  apart = sum(float(jnp.sum((a - b)[0] ** 2)) for a, b in zip(drawn("policy"), drawn("other"), strict=True))
  size = sum(float(jnp.sum(b[0] ** 2)) for b in drawn("other"))
  assert 0.1 * size < apart < 0.9 * size


def test_an_evaluation_of_the_start_is_of_what_the_method_makes_of_it(monkeypatch):
  trainer = trainer_of()
  given = {"policy": jax.tree.map(lambda x: x[:1] * 0, trainer.state.seeds.models["policy"].params)}
  found = initialization.Start(given["policy"], "a run", "", [])
  monkeypatch.setattr(initialization, "find", lambda *arguments: {"policy": found})
  policy = evaluate._start(trainer.experiment, trainer.mesh)
  drawn = Trainer(trainer.experiment, trainer.mesh, given).state.seeds.models
  half = jax.tree.map(lambda x: x / 2, drawn["other"].params)  # the mean of nothing and the other
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), policy.params, half)
  assert policy.what == "a run" and policy.iteration == 0


def test_a_methods_own_evaluations_are_measured_with_the_held_out_ones():
  trainer = trainer_of()
  one = jax.tree.map(lambda x: x[0], trainer.state.seeds)
  with mesh.use(trainer.mesh, trainer.experiment.rules):
    metrics = jax.jit(lambda seed: evaluation.named(trainer.experiment, seed, 0))(one)
  models = one.models
  apart = jax.tree.map(lambda a, b: float(np.sum((a - b) ** 2)), models["policy"].params, models["other"].params)
  np.testing.assert_allclose(metrics["distance/squared"], sum(jax.tree.leaves(apart)), rtol=1e-5)
  assert metrics.keys() == {"distance/squared", "distance/drawn"} and 0 < metrics["distance/drawn"] < 1
