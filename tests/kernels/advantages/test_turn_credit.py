"""The gradients that estimators of turn-level credit expect, against the exact one, over all groups of all episodes.

Verl's number 7244: normalised by turn index over the rows that still run, and summed, advantages of turns have a
baseline whose number of terms a row's own end decides. What is unbiased here is so for any policy, up to a factor.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages import dr_grpo, gae, gigpo, igpo, mt_grpo, rloo
from rl_jax.kernels.reductions import per_token
from rl_jax.tasks.environments.enumeration import angle, exact, expected_gradient
from tests.kernels.papers.as_released import episode_means_over_turns
from tests.tasks.environments.test_enumeration import STOP, corridor, policy

ROWS = 3
SHRUNK = (ROWS - 1) / ROWS
"""A row's own share in the mean of its group."""


def whole(estimator):
  """An estimator of rows, on all their turns."""

  def of_turns(rewards, states, group_ids, exists):
    return per_token(estimator(rewards.sum(axis=1), group_ids, exists.any(axis=1)), exists)

  return of_turns


def turns(estimator, **options):
  return lambda rewards, states, group_ids, exists: estimator(rewards, group_ids, exists, **options)


def anchors(**options):
  def of_turns(rewards, states, group_ids, exists):
    return gigpo(rewards, states, group_ids, exists, discount=1.0, **options).advantages

  return of_turns


UNBIASED = {
  "dr_grpo": (whole(dr_grpo), SHRUNK),
  "rloo": (whole(rloo), 1),
  "mt_grpo": (turns(mt_grpo, scale=False), SHRUNK),
  "mt_grpo_cumulative": (turns(mt_grpo, scale=False, estimate="cumulative"), SHRUNK),
  "gigpo": (anchors(normalization="leave_one_out", step_weight=0.5), 1.5),
}
"""Estimators and the factor of the exact gradient that they expect."""
BIASED = {
  "mt_grpo_skip": turns(mt_grpo, scale=False, absent="skip"),
  "mt_grpo_skip_std": turns(mt_grpo, absent="skip"),
  "mt_grpo_cumulative_skip": turns(mt_grpo, scale=False, estimate="cumulative", absent="skip"),
  "igpo_joint": turns(igpo, scale=False),
  "igpo_separate": turns(igpo, scale=False, mode="separate"),
  "gigpo_own_row": anchors(),
  "rows_of_turns": lambda rewards, states, group_ids, exists: episode_means_over_turns(rewards, group_ids, exists),
}
"""Estimators whose expected gradient has another direction than the exact one."""


@functools.cache
def expected(name, seed=0):
  episodes = corridor()
  estimator = UNBIASED[name][0] if name in UNBIASED else BIASED[name]
  return expected_gradient(episodes, policy(episodes, seed), jax.jit(estimator), ROWS)


@pytest.mark.parametrize("name", UNBIASED)
def test_what_is_unbiased_expects_the_exact_gradient(name):
  episodes = corridor()
  truth = exact(episodes, policy(episodes)).gradient
  np.testing.assert_allclose(expected(name), UNBIASED[name][1] * truth, atol=1e-6)


@pytest.mark.parametrize("lam", [0.0, 0.5])
def test_gae_over_turns_with_the_true_values_is_unbiased(lam):
  episodes = corridor()
  truth = exact(episodes, policy(episodes))
  left = np.arange(episodes.exists.shape[1], 0, -1)
  values = lambda states: jnp.array(truth.values)[left, jnp.maximum(states, 0)]
  estimator = lambda rewards, states, ids, exists: gae(rewards, values(states), exists, lam=lam).advantages
  np.testing.assert_allclose(expected_gradient(episodes, policy(episodes), estimator, 1), truth.gradient, atol=1e-6)


@pytest.mark.parametrize("name", BIASED)
def test_what_is_biased_has_another_direction(name):
  episodes = corridor()
  assert angle(expected(name), exact(episodes, policy(episodes)).gradient) > 1


def test_the_bias_is_for_stopping():
  """Rewards of turns are positive, so their means are what every further turn costs: more weight on an end at once."""
  start = corridor().states[0, 0]
  assert expected("mt_grpo_skip")[start, STOP] > expected("mt_grpo")[start, STOP] + 0.01


def test_without_rewards_of_turns_there_is_no_bias():
  episodes = corridor(key_reward=0.0)
  truth = exact(episodes, policy(episodes)).gradient
  found = expected_gradient(episodes, policy(episodes), jax.jit(BIASED["mt_grpo_skip"]), ROWS)
  np.testing.assert_allclose(found, SHRUNK * truth, atol=1e-6)
