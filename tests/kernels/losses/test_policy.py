from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.losses.policy import cispo, policy_gradient
from rl_jax.kernels.reductions import aggregate
from tests.kernels.kernel import Kernel
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
LOGPROBS, OLD, ADVANTAGES = RNG.normal(size=(3, 3, 4)) * 0.5
MASK = np.array([[1, 1, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize(
  "advantage, ratio, loss, slope, low, high",
  [
    # min(r A, clip(r, 0.8, 1.28) A): the sign of A decides which bound can act.
    (2.0, 1.5, -2.56, 0.0, False, True),
    (2.0, 1.1, -2.2, -2.2, False, False),
    (2.0, 0.5, -1.0, -1.0, False, False),
    (-2.0, 1.5, 3.0, 3.0, False, False),
    (-2.0, 0.9, 1.8, 1.8, False, False),
    (-2.0, 0.5, 1.6, 0.0, True, False),
    (0.0, 1.5, 0.0, 0.0, False, False),
  ],
)
def test_four_quadrants(advantage, ratio, loss, slope, low, high):
  def run(logprob):
    ones = jnp.ones((1, 1))
    return policy_gradient(logprob * ones, 0 * ones, advantage * ones, ones, clip_high=0.28)

  result = run(jnp.log(ratio))
  np.testing.assert_allclose(result.losses, [[loss]], rtol=1e-6)
  np.testing.assert_allclose(jax.grad(lambda x: run(x).losses.sum())(jnp.log(ratio)), slope, rtol=1e-6)
  assert (bool(result.clipped_low[0, 0]), bool(result.clipped_high[0, 0])) == (low, high)


def test_dual_clip_bounds_the_loss_of_negative_advantages_only():
  logprobs, ones = jnp.log(jnp.array([[5.0, 5.0, 2.0]])), jnp.ones((1, 3))
  result = policy_gradient(logprobs, 0 * ones, jnp.array([[-1.0, 1.0, -1.0]]), ones, dual_clip=3.0)
  np.testing.assert_allclose(result.losses, [[3.0, -1.2, 2.0]], rtol=1e-6)
  np.testing.assert_array_equal(result.clipped_dual, [[True, False, False]])


def loss_of(*args, clip="ppo", **options):
  return cispo(*args, **options) if clip == "cispo" else policy_gradient(*args, clip=clip, **options)


def objective(logprobs, ratio, clip):
  """sequence_mean_token_mean of the loss in loops; for cispo the weight is held at LOGPROBS, as its gradient is."""
  rows = []
  for new, base, old, advantage, mask in zip(logprobs, LOGPROBS, OLD, ADVANTAGES, MASK, strict=True):
    slots = np.flatnonzero(mask)
    if not len(slots):
      continue
    log_ratios = {t: new[t] - old[t] for t in slots}
    total = sum(log_ratios.values())
    losses = []
    for t in slots:
      r = np.exp({"token": log_ratios[t], "sequence": total / len(slots), "sequence_sum": total}[ratio])
      if clip == "cispo":
        losses.append(-min(np.exp(base[t] - old[t]), 1.2) * advantage[t] * new[t])
      elif clip == "none":
        losses.append(-r * advantage[t])
      else:
        losses.append(-min(r * advantage[t], np.clip(r, 0.8, 1.2) * advantage[t]))
    rows.append(np.mean(losses))
  return np.mean(rows)


@pytest.mark.parametrize(
  "ratio, clip",
  [("token", "ppo"), ("token", "none"), ("token", "cispo"), ("sequence_sum", "ppo"), ("sequence_sum", "none")],
)
def test_value_and_gradient_against_loops(ratio, clip):
  options = {"clip_high": 1.2} if clip == "cispo" else {}
  with jax.enable_x64(True):
    old, advantages, mask = jnp.array(OLD), jnp.array(ADVANTAGES), jnp.array(MASK)

    def total(x):
      losses = loss_of(x, old, advantages, mask, ratio=ratio, clip=clip, **options).losses
      return aggregate(losses, mask, mode="sequence_mean_token_mean").value

    value, gradient = jax.value_and_grad(total)(jnp.array(LOGPROBS))
  np.testing.assert_allclose(value, objective(LOGPROBS, ratio, clip), atol=1e-12)
  expected = finite_difference(lambda x: objective(x, ratio, clip), LOGPROBS)
  np.testing.assert_allclose(gradient, expected, atol=1e-8)


def test_gspo_gradient_with_one_advantage_per_row():
  advantages = np.repeat(ADVANTAGES[:, :1], 4, axis=1)

  def total(x):
    losses = policy_gradient(x, jnp.array(OLD), jnp.array(advantages), jnp.array(MASK), ratio="sequence", clip="none")
    return aggregate(losses.losses, jnp.array(MASK), mode="sequence_mean_token_mean").value

  def reference(x):
    rows = [i for i in range(3) if MASK[i].any()]
    means = [(x - OLD)[i][MASK[i] == 1].mean() for i in rows]
    return np.mean([-np.exp(m) * advantages[i, 0] for m, i in zip(means, rows, strict=True)])

  np.testing.assert_allclose(jax.grad(total)(jnp.array(LOGPROBS)), finite_difference(reference, LOGPROBS), atol=1e-6)


FORMS = [{}, {"ratio": "sequence"}, {"clip": "none"}, {"clip": "cispo"}, {"dual_clip": 3.0}]


@pytest.mark.parametrize("options", FORMS)
def test_on_policy_every_form_is_reinforce(options):
  logprobs, advantages, mask = jnp.array(LOGPROBS), jnp.array(ADVANTAGES), jnp.array(MASK)
  result = loss_of(logprobs, logprobs, advantages, mask, **options)
  np.testing.assert_array_equal(result.ratios, MASK)
  assert not (result.clipped_low | result.clipped_high | result.clipped_dual).any()
  gradient = jax.grad(lambda x: loss_of(x, logprobs, advantages, mask, **options).losses.sum())(logprobs)
  np.testing.assert_allclose(gradient, -ADVANTAGES * MASK, rtol=1e-6)


def test_extreme_ratios_stay_finite():
  x = jnp.array([[500.0, -500.0]])
  result = policy_gradient(x, -x, -jnp.ones((1, 2)), jnp.ones((1, 2)))
  assert jnp.isfinite(result.losses).all()


@pytest.mark.parametrize("options", [*FORMS, {"ratio": "sequence_sum"}])
def test_tokens_without_probability_have_no_gradient(options):
  """log r is held at +-20 there: with -inf on either side, or on both, where r = 1."""
  logprobs = jnp.array([[-jnp.inf, -1.0], [-jnp.inf, -1.0], [-1.0, -1.0]])
  old = jnp.array([[-1.0, -1.0], [-jnp.inf, -1.2], [-jnp.inf, -1.0]])
  ones = jnp.ones((3, 2))
  for advantages in (ones, -ones):
    result = loss_of(logprobs, old, advantages, ones, **options)
    gradient = jax.grad(lambda x, a=advantages: loss_of(x, old, a, ones, **options).losses.sum())(logprobs)
    assert jnp.isfinite(result.losses).all() and jnp.isfinite(gradient).all()
    assert not gradient[:2, 0].any()
  token = policy_gradient(logprobs, old, ones, ones, clip="none").ratios
  np.testing.assert_allclose(token, [[np.exp(-20), 1], [1, np.exp(0.2)], [np.exp(20), 1]], rtol=1e-6)


def test_the_ratio_of_a_sequence_keeps_its_digits():
  """GSPO clips at 3e-4: logprobs of -2000 must not cost the mean its last digits."""
  logprobs, ones = jnp.array([[-2000.0, -1.0]]), jnp.ones((1, 2))
  ratios = policy_gradient(logprobs, logprobs - jnp.array([[0.0, 2e-4]]), ones, ones, ratio="sequence").ratios
  np.testing.assert_allclose(jnp.log(ratios), 1e-4, rtol=1e-2)


def test_wrong_calls_say_what_to_do():
  x = jnp.ones((1, 2))
  with pytest.raises(ValueError, match="absolute ratio of at least 1, got 0.28"):
    cispo(x, x, x, x, clip_high=0.28)
  with pytest.raises(ValueError, match="unknown ratio 'seq'; known: token, sequence, sequence_sum"):
    policy_gradient(x, x, x, x, ratio="seq")
  with pytest.raises(ValueError, match=r"advantages \(1,\)"):
    policy_gradient(x, x, x[:, 0], x)


POLICY = {"logprobs": "BT", "old_logprobs": "BT", "advantages": "BT", "mask": "BT"}


def _policy(**options):
  return Kernel(policy_gradient, POLICY, options, gradients=("logprobs",))


KERNELS = [
  _policy(),
  _policy(dual_clip=3.0, clip_high=0.28),
  _policy(clip="none"),
  Kernel(cispo, POLICY, gradients=("logprobs",)),
  _policy(ratio="sequence", clip_low=3e-4, clip_high=4e-4),
  _policy(ratio="sequence_sum"),
]
