"""Every rollout of a plain task, of few greedy responses."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import pytest

from rl_jax.curricula.curriculum import Plan
from rl_jax.rollouts.blanked import blanked
from rl_jax.rollouts.branches import Boundaries, branches
from rl_jax.rollouts.coalitions import random_orders
from rl_jax.rollouts.dynamic_sampling import dynamic_sampling
from rl_jax.rollouts.estimators import stateless
from rl_jax.rollouts.flat import flat
from rl_jax.rollouts.hints import hinted
from rl_jax.rollouts.look_ahead import look_ahead
from rl_jax.rollouts.probes import probed, step_ends
from rl_jax.rollouts.refinement import with_refinement
from rl_jax.rollouts.replay import with_replay
from rl_jax.rollouts.rollout import BoundModel
from rl_jax.rollouts.sampler import Sampling
from rl_jax.rollouts.tree import tree
from rl_jax.rollouts.workspaces import Operator
from tests.methods.two_iterations import even
from tests.training import small

GREEDY, PROMPTS, GROUP = Sampling(greedy=True), 4, 2


@functools.cache
def parts():
  """Task and policy."""
  experiment = small.make_experiment("num_seeds=1")
  policy = BoundModel(experiment.models["policy"], small.make_seed(experiment, 3).models["policy"].params)
  return even(experiment.task), policy


def plan_of(task, first=0):
  """Four problems, two rows of each."""
  rows = PROMPTS * GROUP
  return Plan(first + jnp.arange(PROMPTS), jnp.ones(rows, bool), jnp.full(rows, task.response_tokens))


def _cuts(trajectories):
  starts = jnp.broadcast_to(jnp.array([0, 1, 3]), (trajectories.tokens.shape[0], 3))
  return Boundaries(starts, starts < trajectories.response_lengths[:, None])


def _replayed(task, rollout):
  options = {"rows": 5, "rows_per_group": 1, "capacity": 4, "max_age": 2, "extras": {}}
  return with_replay(task, rollout, lambda rows: rows.scored, **options)


def _right(rows):
  return rows.scored & (rows.rewards > 0)


def _probed(task, rollout):
  options = {"samples": 2, "max_tokens": 2, "sampling": GREEDY}
  return probed(task, rollout, lambda task, rows: step_ends(task, rows, 3), **options)


def _looking_ahead(task, rollout):
  half = stateless(lambda models, state, prompts: jnp.full(prompts.ids.shape, 0.5))
  options = {"rounds": 1, "rows_per_round": 2, "k_max": 3, "cost": 0.0, "noise_variance": 0.25}
  return look_ahead(lambda count: flat(task, count, GREEDY), half, GROUP, **options)


STRUCTURES = {
  "flat": lambda task, plain: plain,
  "tree": lambda task, plain: tree(task, (2, 2), 3, GREEDY),
  "branches": lambda task, plain: branches(task, plain, _cuts, 2, GREEDY),
  "blanked": lambda task, plain: blanked(task, plain, random_orders(3, 2), 3, spans="tokens", token=0),
  "probes": _probed,
  "rounds": lambda task, plain: dynamic_sampling(plain, GROUP, _right, 2),
  "replay": _replayed,
  "look_ahead": _looking_ahead,
  "refinement": lambda task, plain: with_refinement(task, GROUP, GREEDY, Operator(cap=9), refined_prompts=2, drafts=2),
  "hints": lambda task, plain: hinted(task, GROUP, 2, GREEDY, low=0.2, high=0.6, noise=0.1),
}
"""(task, independent responses) -> rollout."""
QUICK = ("flat", "tree")
CASES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in STRUCTURES]
"""Their names, for tests of all. Two stand for the others in the quick suite, where methods run the others too."""
