from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.losses.policy import policy_gradient
from rl_jax.kernels.losses.segment import spo
from rl_jax.kernels.reductions import aggregate
from tests.kernels.kernel import Kernel
from tests.kernels.numerics import finite_difference

OLD = np.log([[0.5, 0.95, 0.4, 0.3], [0.6, 0.2, 0.7, 0.5]])
REF = OLD + np.array([[0.1, 0.3, -0.2, 0.4], [-0.3, 0.2, 0.5, 0.1]])
NEW = OLD + np.array([[0.05, 0.2, 0.4, -0.5], [-0.1, 0.3, 0.1, 0.2]])
ADVANTAGES = np.array([[1.0, 2.0, 1.5, -1.0], [-0.5, 0.7, 3.0, 1.0]])
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0]])


def reference(new):
  trained = (MASK == 1) & (np.exp(OLD) < 0.9)
  ratios, d = np.exp(new - OLD), REF - new
  losses = np.maximum(-ADVANTAGES * ratios, -ADVANTAGES * np.clip(ratios, 0.8, 1.2))
  return losses[trained].mean() + 0.5 * (np.exp(d) - d - 1)[trained].sum() / 2


def loss(new, *, max_ratio=10.0, **options):
  return spo(new, OLD, REF, ADVANTAGES, MASK, **options).total(max_ratio=max_ratio)


def test_value_and_gradient():
  with jax.enable_x64(True):
    value, gradient = jax.value_and_grad(lambda x: loss(x, kl_coefficient=0.5))(jnp.array(NEW))
    np.testing.assert_allclose(value, reference(NEW), rtol=1e-10)
    np.testing.assert_allclose(gradient, finite_difference(reference, NEW), atol=1e-8)


def test_without_kl_and_certain_tokens_it_is_ppo():
  ppo = aggregate(policy_gradient(NEW, OLD, ADVANTAGES, MASK).losses, jnp.array(MASK), mode="token_mean").value
  assert loss(NEW, threshold=1.1, kl_coefficient=0.0) == pytest.approx(float(ppo), rel=1e-6)


def test_a_minibatch_far_off_policy_is_skipped():
  mean = np.exp(NEW - OLD)[(MASK == 1) & (np.exp(OLD) < 0.9)].mean()
  assert loss(NEW, max_ratio=mean - 1e-3) == 0 and loss(NEW, max_ratio=mean + 1e-3) != 0
  assert not jax.grad(lambda x: loss(x, max_ratio=mean - 1e-3))(jnp.array(NEW)).any()


def test_responses_without_uncertain_tokens_count_in_the_kl_mean():
  certain = np.where(np.arange(2)[:, None] == 0, -0.01, OLD)
  terms = spo(NEW, certain, REF, ADVANTAGES, MASK)
  assert terms.kl.weight == 2 and terms.policy.weight == 2
  nothing = spo(NEW, np.full((2, 4), -0.01), REF, ADVANTAGES, MASK)
  assert nothing.total() == 0 and nothing.policy.weight == 0


KERNELS = [
  Kernel(
    spo,
    {"logprobs": "BT", "old_logprobs": "BT", "ref_logprobs": "BT", "advantages": "BT", "mask": "BT"},
    gradients=("logprobs",),
  ),
]
