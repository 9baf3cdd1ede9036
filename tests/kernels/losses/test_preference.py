from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.losses.preference import dpo
from tests.kernels.kernel import Kernel
from tests.kernels.numerics import finite_difference

PAIRS = -np.abs(np.random.default_rng(0).normal(size=(4, 3))) * 10
MASK = jnp.array([True, True, False])


def test_gradient_against_loops():
  def reference(chosen):
    total = 0.0
    for c, r, ref_c, ref_r in zip(chosen[:2], *PAIRS[1:, :2], strict=True):
      z = 0.3 * ((c - ref_c) - (r - ref_r))
      total += 0.9 * np.log1p(np.exp(-z)) + 0.1 * np.log1p(np.exp(z))
    return total

  rest = [jnp.array(x) for x in PAIRS[1:]]
  gradient = jax.grad(lambda c: dpo(c, *rest, MASK, beta=0.3, label_smoothing=0.1).losses.sum())(jnp.array(PAIRS[0]))
  np.testing.assert_allclose(gradient, finite_difference(reference, PAIRS[0]), atol=1e-5)


def test_policy_equal_to_reference_is_log_two_and_swapping_flips_the_margin():
  c, r = jnp.array(PAIRS[0]), jnp.array(PAIRS[1])
  np.testing.assert_allclose(dpo(c, r, c, r, MASK).losses, [np.log(2), np.log(2), 0], rtol=1e-6)
  ref_c, ref_r = jnp.array(PAIRS[2]), jnp.array(PAIRS[3])
  np.testing.assert_allclose(dpo(c, r, ref_c, ref_r, MASK).margins, -dpo(r, c, ref_r, ref_c, MASK).margins, rtol=1e-6)


def test_far_pairs_stay_finite():
  far = jnp.array([-1e6])
  assert dpo(far, 0 * far, 0 * far, 0 * far, jnp.array([True])).losses.item() == np.float32(1e5)


KERNELS = [
  Kernel(
    dpo,
    dict.fromkeys(
      ["chosen_logprobs", "rejected_logprobs", "ref_chosen_logprobs", "ref_rejected_logprobs", "mask"], "B"
    ),
    {"label_smoothing": 0.1},
    gradients=("chosen_logprobs", "rejected_logprobs"),
  ),
]
