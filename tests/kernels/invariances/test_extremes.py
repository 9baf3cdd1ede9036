"""Losses and their gradients are finite however far policy, reference and sampler are apart."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kernels.invariances.over_kernels import over

HELD = (
  "kl", "policy_gradient", "cispo", "sapo", "gmpo", "dppo", "vespo", "clip_cov", "kl_cov", "copo_loss", "spo",
  "implicit_rewards",
)  # fmt: skip
"""Functions that hold log ratios within bounds, so that a logprob may be -inf. Elsewhere the loss is then infinite."""


def function(kernel):
  return (kernel.public or kernel.function).__name__


def apart(kernel, rng, distance):
  """Arguments whose logprobs are -0.5 or far below, and whose other differentiated ones, and logits, are far from 0."""
  arrays = kernel.make(rng)
  for name, array in arrays.items():
    if "logprobs" in name:
      arrays[name] = np.where(rng.random(array.shape) < 0.5, -0.5, -distance).astype(array.dtype)
    elif np.isfinite(distance) and ("logits" in name or name in kernel.gradients):
      arrays[name] = (distance * rng.choice([-1, 1], array.shape)).astype(array.dtype)
  return arrays


def assert_finite(kernel, arrays):
  for x in [*kernel.outputs(arrays), *kernel.gradient(arrays).values()]:
    assert np.isfinite(np.asarray(x, np.float32)).all()


FAMILIES = ("advantages.", "analysis.", "flow.", "games.", "layers.", "logprobs.", "losses.", "rewards.")


@over(lambda k: k.gradients and k.name.startswith(FAMILIES))
@pytest.mark.parametrize("distance", [100.0, 1e4])
def test_losses_and_gradients_are_finite_far_apart(kernel, rng, distance):
  assert_finite(kernel, apart(kernel, rng, distance))


@over(lambda k: k.gradients and function(k) in HELD)
def test_a_logprob_may_be_minus_infinity(kernel, rng):
  arrays = apart(kernel, rng, np.inf)
  assert any(np.isneginf(x).any() for x in arrays.values())
  assert_finite(kernel, arrays)
