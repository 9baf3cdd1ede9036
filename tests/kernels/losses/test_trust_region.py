from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.losses.policy import cispo, policy_gradient
from rl_jax.kernels.losses.trust_region import dppo, gmpo, sapo, vespo
from rl_jax.kernels.reductions import aggregate
from tests.kernels.kernel import Kernel
from tests.kernels.papers import make_trainers

RNG = np.random.default_rng(1)
MASK = np.array([[1, 1, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0]])
LOGPROBS = -np.abs(RNG.normal(size=(3, 4))) - 0.05
OLD = np.minimum(LOGPROBS - 0.4 * RNG.normal(size=(3, 4)), -0.02)
ADVANTAGES = np.repeat([[0.7], [-1.3], [0.4]], 4, axis=1)


def one(function, logprob, old, advantage, **options):
  """Loss, slope by logp, and bounds that took effect, of a single token."""
  ones = jnp.ones((1, 1))
  run = lambda x: function(x * ones, old * ones, advantage * ones, ones, **options)
  result = run(logprob)
  slope = jax.grad(lambda x: run(x).losses.sum())(logprob)
  return float(result.losses[0, 0]), float(slope), bool(result.clipped_low[0, 0]), bool(result.clipped_high[0, 0])


@pytest.mark.parametrize("advantage, tau", [(2.0, 1.0), (-2.0, 1.05)])
def test_the_gate_of_sapo_by_hand(advantage, tau):
  gate = 1 / (1 + np.exp(-tau * (1.5 - 1)))
  loss, slope, *_ = one(sapo, jnp.log(1.5), 0.0, advantage)
  np.testing.assert_allclose(loss, -4 / tau * gate * advantage, rtol=1e-6)
  np.testing.assert_allclose(slope, -4 * gate * (1 - gate) * 1.5 * advantage, rtol=1e-5)


@pytest.mark.parametrize(
  "advantage, log_ratio, held, low, high",
  [(2.0, 0.6, 0.4, False, True), (2.0, -0.6, -0.6, False, False), (-2.0, -0.6, -0.4, True, False),
   (-2.0, 0.6, 0.6, False, False), (0.0, 0.6, 0.6, False, False)],
)  # fmt: skip
def test_gmpo_clips_at_the_side_of_the_advantage(advantage, log_ratio, held, low, high):
  loss, slope, *bounds = one(gmpo, jnp.float32(log_ratio), 0.0, advantage)
  np.testing.assert_allclose(loss, -advantage * np.exp(held), rtol=1e-6)
  np.testing.assert_allclose(slope, 0 if low or high else loss, rtol=1e-6)
  assert bounds == [low, high]


@pytest.mark.parametrize(
  "advantage, p, q, low, high",
  [(1.0, 0.9, 0.6, False, True), (1.0, 0.6, 0.9, False, False), (-1.0, 0.6, 0.9, True, False),
   (-1.0, 0.9, 0.6, False, False), (1.0, 0.02, 0.01, False, False), (0.0, 0.9, 0.6, False, False)],
)  # fmt: skip
@pytest.mark.parametrize("options", [{}, {"divergence": "kl", "clip_low": 0.05, "clip_high": 0.05}])
def test_dppo_bounds_what_moves_with_the_advantage(advantage, p, q, low, high, options):
  """0.9 and 0.6 are apart by 0.3, and by KL 0.31 or 0.23; a ratio of 2 at 0.01 is hardly apart."""
  _, slope, *bounds = one(dppo, jnp.log(p), jnp.log(q), advantage, **options)
  np.testing.assert_allclose(slope, 0 if low or high else -advantage * p / q, rtol=1e-5)
  assert bounds == [low, high]


def test_dppo_weights_are_capped():
  _, slope, *_ = one(dppo, jnp.log(0.1), jnp.log(0.001), 1.0)
  np.testing.assert_allclose(slope, -20, rtol=1e-5)


@pytest.mark.parametrize("advantage, phi", [(1.0, 4 * np.exp(-3)), (-1.0, 8 * np.exp(-2)), (0.0, 0.0)])
def test_vespo_by_hand(advantage, phi):
  """W = 2 of the row on both tokens."""
  logprobs, ones = jnp.log(jnp.array([[0.4, 0.5]])), jnp.ones((1, 2))
  run = lambda x: vespo(x, jnp.log(jnp.array([[0.2, 0.5]])), advantage * ones, ones).losses.sum()
  np.testing.assert_allclose(jax.grad(run)(logprobs), -phi * advantage * np.ones((1, 2)), rtol=1e-5)


LOSSES = {
  "sapo": (sapo, {}, "sequence_mean_token_mean"),
  "gmpo": (gmpo, {}, "sequence_mean_token_mean"),
  "luspo": (policy_gradient, {"ratio": "sequence", "clip_high": 0.3}, "sequence_mean_token_sum"),
  "vespo": (vespo, {}, "token_mean"),
  "dppo_tv": (dppo, {}, "token_mean"),
  "dppo_kl": (dppo, {"divergence": "kl", "clip_low": 0.05, "clip_high": 0.05}, "token_mean"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_against_loops(name):
  function, options, mode = LOSSES[name]
  with jax.enable_x64(True):
    old, advantages, mask = jnp.array(OLD), jnp.array(ADVANTAGES), jnp.array(MASK)
    total = lambda x: aggregate(function(x, old, advantages, mask, **options).losses, mask, mode=mode).value
    value, gradient = jax.value_and_grad(total)(jnp.array(LOGPROBS))
  expected, slopes = make_trainers.value_and_gradient(name, LOGPROBS, OLD, ADVANTAGES, MASK, None)
  np.testing.assert_allclose(value, expected, atol=1e-12)
  np.testing.assert_allclose(gradient, slopes, atol=1e-8)


@pytest.mark.parametrize("function", [sapo, gmpo, dppo, vespo])
def test_on_policy_every_form_is_reinforce(function):
  logprobs, advantages, mask = jnp.array(LOGPROBS), jnp.array(ADVANTAGES), jnp.array(MASK)
  result = function(logprobs, logprobs, advantages, mask)
  np.testing.assert_allclose(result.ratios, MASK, rtol=1e-6)
  assert not (result.clipped_low | result.clipped_high | result.clipped_dual).any()
  gradient = jax.grad(lambda x: function(x, logprobs, advantages, mask).losses.sum())(logprobs)
  np.testing.assert_allclose(gradient, -ADVANTAGES * MASK, rtol=1e-5)


def test_without_bounds_the_forms_are_others():
  """GMPO without clipping is GSPO without clipping; DPPO that nothing moves out of is CISPO with its cap."""
  args = tuple(map(jnp.array, (LOGPROBS, OLD, ADVANTAGES, MASK)))
  plain = policy_gradient(*args, ratio="sequence", clip="none").losses
  np.testing.assert_allclose(gmpo(*args, clip_low=99.0, clip_high=99.0).losses, plain, rtol=1e-6)
  open_to = dppo(*args, clip_low=1.0, clip_high=1.0, max_ratio=1.2).losses
  np.testing.assert_allclose(open_to, cispo(*args, clip_high=1.2).losses, rtol=1e-6)


def test_certain_and_impossible_tokens_have_a_divergence():
  """p or q of 0 or 1: no NaN, and a token that cannot come back is masked where A < 0."""
  ends = jnp.array([[0.0, -jnp.inf, 0.0, -jnp.inf]])
  old = jnp.array([[0.0, -jnp.inf, -jnp.inf, 0.0]])
  result = dppo(ends, old, -jnp.ones((1, 4)), jnp.ones((1, 4)), divergence="kl", clip_low=0.05)
  assert jnp.isfinite(result.losses).all()
  np.testing.assert_array_equal(result.clipped_low, [[False, False, False, True]])


def test_wrong_calls_say_what_to_do():
  x = jnp.ones((1, 2))
  with pytest.raises(ValueError, match="sapo: tau_negative is above 0, got 0"):
    sapo(x, x, x, x, tau_negative=0)
  with pytest.raises(ValueError, match="unknown divergence 'js'; known: tv, kl"):
    dppo(x, x, x, x, divergence="js")
  with pytest.raises(ValueError, match=r"advantages \(1,\)"):
    gmpo(x, x, x[:, 0], x)


POLICY = {"logprobs": "BT", "old_logprobs": "BT", "advantages": "BT", "mask": "BT"}
KERNELS = [
  Kernel(sapo, POLICY, gradients=("logprobs",)),
  Kernel(gmpo, POLICY, gradients=("logprobs",)),
  Kernel(dppo, POLICY, gradients=("logprobs",)),
  Kernel(dppo, POLICY, {"divergence": "kl"}, gradients=("logprobs",)),
  Kernel(vespo, POLICY, gradients=("logprobs",)),
]
