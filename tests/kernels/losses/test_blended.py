from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.losses.blended import copo_loss
from rl_jax.kernels.losses.policy import policy_gradient
from rl_jax.kernels.reductions import aggregate
from tests.kernels.kernel import Kernel
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
LOGPROBS, OLD, LOCAL, GLOBAL = RNG.normal(size=(4, 3, 4))
WEIGHTS = np.array([0.3, 0.9, 0.5])
MASK = np.array([[1, 1, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0]])
CLIPS = dict(clip_low=0.2, clip_high=0.28, dual_clip=2.0)


def test_each_part_clips_on_its_own_side():
  # Ratios 4, 1 and 1/2 with A = 1 and A^g = -2: -min(r, clip r) and min(max(2 r, 2 clip r), 3 * 2).
  logprobs, ones = jnp.log(jnp.array([[4.0, 1.0, 0.5]])), jnp.ones((1, 3))
  loss = copo_loss(logprobs, 0 * ones, ones, -2 * ones, jnp.array([0.25]), ones)
  np.testing.assert_allclose(loss.losses, [[-0.3 + 4.5, -0.25 + 1.5, -0.125 + 1.2]], rtol=1e-6)
  doubled = copo_loss(logprobs, 0 * ones, ones, -2 * ones, jnp.array([0.25]), ones, global_coefficient=2.0)
  np.testing.assert_allclose(doubled.losses, [[-0.3 + 9.0, -0.25 + 3.0, -0.125 + 2.4]], rtol=1e-6)
  np.testing.assert_array_equal(loss.local.clipped_high, [[True, False, False]])
  np.testing.assert_array_equal(loss.between.clipped_low, [[False, False, True]])


def test_gradient_is_that_of_the_loss_in_numpy():
  def objective(logprobs):
    def clipped(ratio, advantage):
      loss = np.maximum(-advantage * ratio, -advantage * np.clip(ratio, 0.8, 1.28))
      return np.where(advantage < 0, np.minimum(loss, -2.0 * advantage), loss)

    ratio, share = np.exp(logprobs - OLD), WEIGHTS[:, None]
    losses = share * clipped(ratio, LOCAL) + (1 - share) * clipped(ratio, GLOBAL)
    return np.mean([(losses * MASK)[i].sum() / MASK[i].sum() for i in (0, 1)])

  with jax.enable_x64():
    arrays = [jnp.array(x) for x in (OLD, LOCAL, GLOBAL, WEIGHTS, MASK)]
    loss = lambda x: aggregate(copo_loss(x, *arrays, **CLIPS).losses, arrays[-1], mode="sequence_mean_token_mean").value
    value, gradient = jax.value_and_grad(loss)(jnp.array(LOGPROBS))
  np.testing.assert_allclose(value, objective(LOGPROBS), rtol=1e-10)
  np.testing.assert_allclose(gradient, finite_difference(objective, LOGPROBS), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("weight, advantages", [(1.0, LOCAL), (0.0, GLOBAL)])
def test_a_weight_of_one_or_zero_leaves_one_part(weight, advantages):
  loss = copo_loss(LOGPROBS, OLD, LOCAL, GLOBAL, jnp.full(3, weight), MASK, **CLIPS)
  np.testing.assert_array_equal(loss.losses, policy_gradient(LOGPROBS, OLD, advantages, MASK, **CLIPS).losses)


def test_within_the_clip_range_it_is_the_loss_of_the_blended_advantage():
  near, share = OLD + 0.1 * np.tanh(LOGPROBS), WEIGHTS[:, None]
  loss = copo_loss(near, OLD, LOCAL, GLOBAL, WEIGHTS, MASK)
  blend = policy_gradient(near, OLD, share * LOCAL + (1 - share) * GLOBAL, MASK)
  np.testing.assert_allclose(loss.losses, blend.losses, rtol=1e-5)


def test_weights_are_one_number_per_response():
  with pytest.raises(ValueError, match=r"expected weights \[B\], got \(3, 4\) beside \(3, 4\)"):
    copo_loss(LOGPROBS, OLD, LOCAL, GLOBAL, MASK, MASK)


KERNELS = [
  Kernel(
    copo_loss,
    {**dict.fromkeys(["logprobs", "old_logprobs", "local_advantages", "global_advantages"], "BT"), "weights": "B"}
    | {"mask": "BT"},
    gradients=("logprobs",),
  ),
]
