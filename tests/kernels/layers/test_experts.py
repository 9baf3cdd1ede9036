from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.layers import experts
from tests.kernels.kernel import Kernel
from tests.kernels.numerics import finite_difference
from tests.kernels.papers.as_released import double_softmax_cross_entropy

ONE = jnp.ones(1)


def test_fused_reward_of_the_worked_example():
  zs, w1 = jnp.array([[[1.0, -1.0], [0.5, 2.0]]]), jnp.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, -1.0]])
  args = w1, jnp.array([0.0, 0.5]), jnp.array([2.0, 1.0]), jnp.array(-0.5)
  np.testing.assert_allclose(experts.fused_reward(zs, *args, jnp.array(0.25), ONE), [1.875])
  # Slope 1 is a linear head: 2 * 1.5 - 2.5 - 0.5.
  np.testing.assert_allclose(experts.fused_reward(zs, *args, jnp.array(1.0), ONE), [0.0])


def test_fused_rewards_gradient_against_loops():
  rng = np.random.default_rng(0)
  zs, w1, b1, w2 = (rng.normal(size=shape) for shape in ((2, 2, 3), (4, 6), (4,), (4,)))

  def reference(w1, slope):
    hidden = zs.reshape(2, 6) @ w1.T + b1
    return (np.where(hidden >= 0, hidden, slope * hidden) @ w2).sum()

  with jax.enable_x64(True):
    fixed = jnp.array(b1), jnp.array(w2), jnp.array(0.3)
    total = lambda w1, slope: experts.fused_reward(jnp.array(zs), w1, *fixed, slope, jnp.ones(2)).sum()
    by_w1, by_slope = jax.grad(total, argnums=(0, 1))(jnp.array(w1), jnp.array(0.25))
  np.testing.assert_allclose(by_w1, finite_difference(lambda x: reference(x, 0.25), w1), atol=1e-8)
  np.testing.assert_allclose(by_slope, finite_difference(lambda x: reference(w1, x), np.array(0.25)), atol=1e-8)


def test_last_hidden_state_is_that_of_the_last_token_across_gaps():
  hidden = jnp.arange(16.0).reshape(2, 4, 2)
  mask = jnp.array([[1, 0, 1, 0], [0, 0, 0, 0]])
  np.testing.assert_array_equal(experts.last_hidden(hidden, mask), [[4, 5], [0, 0]])


def test_router_takes_the_first_of_equal_tasks():
  routing = experts.router(jnp.ones((2, 1)), jnp.array([[-1.0], [2.0], [2.0]]), jnp.zeros(3), jnp.array([1, 0]))
  np.testing.assert_array_equal(routing.tasks, [1, 0])
  np.testing.assert_allclose(routing.probs.sum(axis=1), [1, 0], rtol=1e-6)


def test_double_softmax_has_a_floor():
  sure = jnp.array([[50.0, 0.0, 0.0, 0.0, 0.0]])
  forms = experts.router_cross_entropy, double_softmax_cross_entropy
  losses = [form(sure, jnp.array([0]), ONE)[0] for form in forms]
  np.testing.assert_allclose(losses, [0, np.log(1 + 4 / np.e)], atol=1e-6)


def test_an_untrained_expert_is_the_backbone():
  rng = np.random.default_rng(0)
  x, weight, down, up = (jnp.array(rng.normal(size=s), jnp.float32) for s in ((2, 3, 4), (5, 4), (2, 4), (5, 2)))
  np.testing.assert_array_equal(experts.lora(x, weight, down, 0 * up), x @ weight.T)
  # The low-rank change is one matrix: alpha / r B A.
  np.testing.assert_allclose(
    experts.lora(x, weight, down, up, lora_alpha=3.0), x @ (weight + 1.5 * up @ down).T, rtol=1e-4, atol=1e-5
  )


def test_each_expert_has_its_own_head():
  zs, weights = jnp.array([[[1.0, 2.0], [3.0, 4.0]]]), jnp.array([[1.0, 0.0], [0.0, 1.0]])
  np.testing.assert_array_equal(experts.expert_rewards(zs, weights, jnp.array([0.0, 10.0]), ONE), [[1, 14]])


def test_wrong_calls_say_what_to_do():
  with pytest.raises(ValueError, match=r"expected x \[\*N D\] and weight \[O D\], got \(3,\) and \(4, 2\)"):
    experts.lora(jnp.ones(3), jnp.ones((4, 2)), jnp.ones((1, 2)), jnp.ones((4, 1)))
  with pytest.raises(ValueError, match=r"up \[O R\], got \(4, 2\), \(1, 2\), \(1, 1\)"):
    experts.lora(jnp.ones(2), jnp.ones((4, 2)), jnp.ones((1, 2)), jnp.ones((1, 1)))
  with pytest.raises(ValueError, match="lora: expected a rank of at least 1, got 0"):
    experts.lora(jnp.ones(2), jnp.ones((4, 2)), jnp.ones((0, 2)), jnp.ones((4, 0)))
  with pytest.raises(ValueError, match=r"mask \[B\], got \(1, 2\), \(3, 2\), \(3,\), \(1, 1\)"):
    experts.router(jnp.ones((1, 2)), jnp.ones((3, 2)), jnp.ones(3), jnp.ones((1, 1)))
  with pytest.raises(ValueError, match=r"expert_rewards: expected zs \[B K D\], weights \[K D\]"):
    experts.expert_rewards(jnp.ones((1, 2, 3)), jnp.ones((1, 3)), ONE, ONE)
  with pytest.raises(ValueError, match=r"expected zs \[B K D\] and weights \[H K\*D\]"):
    experts.fused_reward(jnp.ones((1, 2, 3)), jnp.ones((4, 5)), ONE, ONE, ONE[0], ONE[0], ONE)


SIZES = {"D": 3, "Q": 4, "R": 2, "O": 5, "H": 3, "W": 9}  # W = K D, the concatenated experts


def _labels(rng, shape):
  return rng.integers(0, SIZES["Q"], shape).astype(np.int32)


KERNELS = [
  Kernel(experts.last_hidden, {"hidden": "BTD", "mask": "BT"}, gradients=("hidden",), sizes=SIZES),
  Kernel(
    experts.router,
    {"z": "BD", "weight": "QD", "bias": "Q", "mask": "B"},
    gradients=("z", "weight", "bias"),
    sizes=SIZES,
  ),
  Kernel(
    experts.router_cross_entropy,
    {"logits": "BQ", "labels": "B", "mask": "B"},
    gradients=("logits",),
    draws={"labels": _labels},
    sizes=SIZES,
  ),
  Kernel(
    experts.lora,
    {"x": "BD", "weight": "OD", "down": "RD", "up": "OR"},
    {"lora_alpha": 1.0},
    mask=None,
    gradients=("x", "down", "up"),
    sizes=SIZES,
  ),
  Kernel(
    experts.expert_rewards,
    {"zs": "BKD", "weights": "KD", "biases": "K", "mask": "B"},
    gradients=("zs", "biases"),
    draws={"weights": lambda rng, shape: rng.normal(size=shape).astype(np.float32)},
    sizes=SIZES,
  ),
  Kernel(
    experts.fused_reward,
    {
      "zs": "BKD",
      "hidden_weight": "HW",
      "hidden_bias": "H",
      "out_weight": "H",
      "out_bias": "",
      "slope": "",
      "mask": "B",
    },
    gradients=("zs", "hidden_weight", "out_bias", "slope"),
    sizes=SIZES,
  ),
]
