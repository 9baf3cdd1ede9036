from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.losses.covariance import clip_cov, kl_cov, token_covariances
from rl_jax.kernels.losses.policy import policy_gradient
from rl_jax.kernels.reductions import aggregate
from tests.kernels.kernel import Kernel
from tests.kernels.papers import make_trainers

RNG = np.random.default_rng(1)
MASK = np.array([[1, 1, 0, 1], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
LOGPROBS = -np.abs(RNG.normal(size=(4, 4))) - 0.05
OLD = np.minimum(LOGPROBS - 0.5 * RNG.normal(size=(4, 4)), -0.02)
ADVANTAGES = np.repeat([[0.7], [-1.3], [0.4], [0.1]], 4, axis=1)
DRAWS = RNG.uniform(size=(4, 4))
ARGS = tuple(map(jnp.array, (LOGPROBS, OLD, ADVANTAGES, MASK)))


def test_covariances_by_hand():
  logprobs, advantages = jnp.array([[-1.0, -2.0], [-3.0, jnp.nan]]), jnp.array([[1.0, 1.0], [-2.0, jnp.nan]])
  actual = token_covariances(logprobs, advantages, jnp.array([[1, 1], [1, 0]]))
  np.testing.assert_allclose(actual, [[1.0, 0.0], [2.0, 0.0]], atol=1e-6)


@pytest.mark.parametrize("share, taken", [(1e-4, 1), (0.25, 2), (0.5, 4), (1.0, 9)])
def test_kl_cov_holds_a_share_of_the_tokens_and_at_least_one(share, taken):
  """The largest covariances of nine tokens; their loss has the penalty, the others' not."""
  loss, free = kl_cov(*ARGS, share=share, coefficient=0.5), policy_gradient(*ARGS, clip="none").losses
  covariances = np.asarray(token_covariances(*ARGS[:1], *ARGS[2:]))
  largest = np.sort(covariances[MASK == 1])[::-1][:taken]
  np.testing.assert_array_equal(loss.clipped_high, (MASK == 1) & (covariances >= largest[-1]))
  np.testing.assert_allclose(loss.losses - free, 0.5 * np.abs(LOGPROBS - OLD) * loss.clipped_high, atol=1e-6)


def test_clip_cov_leaves_out_candidates_by_their_draws():
  wide = dict(lowest=-9.0, highest=9.0, clip_low=9.0, clip_high=9.0)
  loss = clip_cov(*ARGS, jnp.array(DRAWS), share=0.25, **wide)
  highest = np.sort(DRAWS[MASK == 1])[-2]
  np.testing.assert_array_equal(loss.clipped_high, (MASK == 1) & (highest <= DRAWS))
  assert not loss.losses[loss.clipped_high].any() and loss.losses[(MASK == 1) & ~loss.clipped_high].all()


def test_clip_cov_without_candidates_is_ppo():
  far = (ARGS[0], ARGS[0] - 0.5 * jnp.sign(ARGS[2]), *ARGS[2:])
  plain = policy_gradient(*far)
  assert plain.clipped_low.any() and plain.clipped_high.any()
  for a, b in zip(clip_cov(*far, jnp.array(DRAWS), lowest=50.0, highest=60.0), plain, strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["clip_cov", "kl_cov"])
def test_value_and_gradient_against_loops(name):
  options, function = make_trainers.SHARES[name], {"clip_cov": clip_cov, "kl_cov": kl_cov}[name]
  with jax.enable_x64(True):
    args = [jnp.array(x) for x in (OLD, ADVANTAGES, MASK)] + [jnp.array(DRAWS)] * (name == "clip_cov")
    total = lambda x: aggregate(function(x, *args, **options).losses, args[2], mode="token_mean").value
    value, gradient = jax.value_and_grad(total)(jnp.array(LOGPROBS))
  expected, slopes = make_trainers.value_and_gradient(name, LOGPROBS, OLD, ADVANTAGES, MASK, DRAWS)
  np.testing.assert_allclose(value, expected, atol=1e-12)
  np.testing.assert_allclose(gradient, slopes, atol=1e-8)


def test_the_selected_tokens_are_those_of_the_whole_batch_in_any_type():
  """Values that differ in the last bit, of both signs, and zeros: the bits are searched, not the values."""
  for dtype in (jnp.float32, jnp.bfloat16):
    advantages = jnp.array([[1.0, -1.0, 0.5, 0.0, 0.0, -0.25]], dtype)
    logprobs = jnp.array([[-0.1, -0.1, -3.0, -1.0, -2.0, -1.5]], dtype)
    covariances = np.asarray(token_covariances(logprobs, advantages, jnp.ones((1, 6))))[0]
    for count in range(1, 7):
      held = kl_cov(logprobs, logprobs, advantages, jnp.ones((1, 6)), share=count / 6 + 1e-6).clipped_high[0]
      assert sorted(covariances[held]) == sorted(covariances)[-count:]


TOKENS = {"logprobs": "BT", "old_logprobs": "BT", "advantages": "BT", "mask": "BT"}
WIDE = {"lowest": -9.0, "highest": 9.0}
KERNELS = [
  Kernel(token_covariances, {"logprobs": "BT", "advantages": "BT", "mask": "BT"}, scope="batch"),
  Kernel(clip_cov, {**TOKENS, "draws": "BT"}, {"share": 0.2, **WIDE}, scope="batch", gradients=("logprobs",)),
  Kernel(kl_cov, TOKENS, {"share": 0.2}, scope="batch", gradients=("logprobs",)),
]
