from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages import multi_reward
from rl_jax.kernels.advantages.group import grpo
from tests.kernels.kernel import Kernel, compiled
from tests.kernels.numerics import finite_difference

REWARDS = jnp.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
ARGS = REWARDS, jnp.array([7, 7, 7, 7]), jnp.ones(4, bool)
EXACT = dict(ddof=0, eps=0.0)


def random(objectives=3):
  rng = np.random.default_rng(0)
  rewards, weights = rng.normal(size=(8, objectives)), rng.dirichlet(np.ones(objectives))
  return (jnp.array(rewards), jnp.arange(8) % 2, jnp.ones(8, bool)), jnp.array(weights)


def test_two_binary_rewards():
  result = multi_reward.dvao(*ARGS)
  np.testing.assert_allclose(result.std[0], [0.577350, 0.5], atol=1e-6)
  np.testing.assert_allclose(result.weights[3], [0.535897, 0.464101], atol=1e-6)
  np.testing.assert_allclose(result.advantages, [0.696150] + [-0.232050] * 3, atol=1e-6)
  np.testing.assert_allclose(multi_reward.reward_combination(*ARGS), [1.499994] + [-0.499998] * 3, atol=1e-6)
  expected = [0.683011, -0.316987, -0.183012, -0.183012]
  np.testing.assert_allclose(multi_reward.advantage_combination(*ARGS), expected, atol=1e-6)


@pytest.mark.parametrize("form", ["two_step", "closed"])
def test_never_larger_than_the_advantage_of_the_sum(form):
  args, weights = random()
  options = dict(weights=weights, **EXACT)
  combined = multi_reward.reward_combination(*args, **options)
  assert (jnp.abs(multi_reward.dvao(*args, form=form, **options).advantages) < jnp.abs(combined)).all()
  # Equal where all rewards rise and fall together.
  together = (args[0][:, :1] * jnp.array([1.0, 2.0, 0.5]) + 3, *args[1:])
  equal = multi_reward.dvao(*together, form=form, **options).advantages
  np.testing.assert_allclose(equal, multi_reward.reward_combination(*together, **options), rtol=1e-4)


def test_mean_square_of_the_combinations():
  (rewards, _, mask), weights = random()
  args, options = (rewards, jnp.zeros(8, jnp.int32), mask), dict(weights=weights, **EXACT)
  assert jnp.square(multi_reward.reward_combination(*args, **options)).mean() == pytest.approx(1, rel=1e-5)
  quadratic = weights @ np.corrcoef(np.asarray(rewards).T) @ weights
  squares = jnp.square(multi_reward.advantage_combination(*args, **options)).mean()
  assert squares == pytest.approx(float(quadratic), rel=1e-4)


def test_sensitivity_to_one_reward_couples_the_objectives():
  """d A_i / d r_ik = w_k / sum_l w_l std_l (1 - 1 / G - A_i A_ik / G)."""
  x, w, (i, k) = np.random.default_rng(0).normal(size=(8, 2)), np.array([0.3, 0.7]), (2, 1)
  with jax.enable_x64():
    ids, mask = jnp.zeros(8, jnp.int32), jnp.ones(8, bool)
    dvao = jax.jit(lambda rewards: multi_reward.dvao(rewards, ids, mask, weights=jnp.array(w), **EXACT))
    numeric = finite_difference(lambda rewards: float(dvao(rewards).advantages[i]), x)[i, k]
    advantage, std = float(dvao(x).advantages[i]), np.asarray(dvao(x).std[0])
  unit = (x[i, k] - x[:, k].mean()) / x[:, k].std()
  expected = w[k] / (w @ std) * (1 - 1 / 8 - advantage * unit / 8)
  assert numeric == pytest.approx(expected, rel=1e-6)


def test_reductions_to_grpo():
  (rewards, ids, mask), _ = random()
  one, expected = (rewards[:, :1], ids, mask), grpo(rewards[:, 0], ids, mask, **EXACT)
  for method in (multi_reward.reward_combination, multi_reward.advantage_combination):
    np.testing.assert_allclose(method(*one, **EXACT), expected, rtol=1e-6)
  np.testing.assert_allclose(multi_reward.dvao(*one, **EXACT).advantages, expected, rtol=1e-6)
  # A second reward without spread leaves its weight to the first under DVAO, and halves AC.
  two = jnp.stack([rewards[:, 0], jnp.full(8, 0.3)], axis=1), ids, mask
  np.testing.assert_allclose(multi_reward.dvao(*two, **EXACT).advantages, expected, rtol=1e-6)
  np.testing.assert_allclose(multi_reward.advantage_combination(*two, **EXACT), expected / 2, rtol=1e-6)


def test_degenerate_groups():
  nothing = jnp.full((3, 2), 0.1), jnp.array([0, 0, 1]), jnp.ones(3, bool)
  opposed = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([4, 4]), jnp.ones(2, bool)
  for args in (nothing, opposed):
    for options in (EXACT, {}):
      assert not multi_reward.dvao(*args, **options).advantages.any()
      assert not multi_reward.reward_combination(*args, **options).any()
      assert not multi_reward.advantage_combination(*args, **options).any()
  assert not multi_reward.dvao(*nothing, **EXACT).weights.any()


def test_errors():
  with pytest.raises(ValueError, match="dvao: unknown form 'long'; known: two_step, closed"):
    multi_reward.dvao(*ARGS, form="long")
  with pytest.raises(ValueError, match=r"dvao: expected weights \[2\], got \(3,\)"):
    multi_reward.dvao(*ARGS, weights=jnp.ones(3))
  with pytest.raises(ValueError, match=r"reward_combination: expected rewards \[B K\], got \(4,\)"):
    multi_reward.reward_combination(REWARDS[:, 0], *ARGS[1:])


def _scalarized(returns, values, mask, weights, variances):
  return multi_reward.scalarized_advantages(returns, values, mask, weights=weights, variances=variances)


def test_scalarised_advantages_do_not_know_the_units_of_the_critic():
  rng = np.random.default_rng(0)
  returns, values = rng.normal(size=(2, 6, 3)).astype(np.float32)
  mask, weights, scale = np.arange(6) < 5, np.array([0.5, 0.2, 0.3]), np.array([4.0, 1.0, 0.5])

  def advantages(returns, weights=weights, scale=1.0):
    return compiled(_scalarized)(returns / scale, values / scale, mask, weights, scale**2 * np.ones(3))

  expected = advantages(returns)
  np.testing.assert_allclose(advantages(returns, scale=scale), expected, rtol=1e-4)
  total = ((returns - values) @ weights)[:5]
  np.testing.assert_allclose(expected[:5], (total - total.mean()) / (total.std(ddof=1) + 1e-5), rtol=1e-4)
  # One objective alone is that objective, and a baseline for all samples alike changes nothing.
  alone = np.array([0.0, 1.0, 0.0])
  np.testing.assert_allclose(advantages(returns, alone), advantages(returns + 3, alone), atol=1e-5)
  assert not compiled(_scalarized)(0 * returns + 2, 0 * values, mask, weights, np.ones(3)).any()


REWARD_AXES = {"rewards": "BK", "group_ids": "B", "mask": "B"}

KERNELS = [
  Kernel(multi_reward.reward_combination, REWARD_AXES, scope="group"),
  Kernel(multi_reward.advantage_combination, REWARD_AXES, scope="group"),
  Kernel(multi_reward.dvao, {**REWARD_AXES, "weights": "K"}, scope="group"),
  Kernel(multi_reward.dvao, REWARD_AXES, {"form": "closed", "ddof": 0}, scope="group"),
  Kernel(
    multi_reward.scalarized_advantages,
    {"returns": "BK", "values": "BK", "mask": "B", "weights": "K"},
    scope="batch",
  ),
]
