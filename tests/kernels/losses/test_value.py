from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.losses.value import value_loss
from tests.kernels.kernel import Kernel
from tests.kernels.numerics import finite_difference

VALUES, OLD, RETURNS = np.random.default_rng(0).normal(size=(3, 2, 4))
MASK = np.array([[1, 1, 1, 0], [0, 0, 1, 1]])


@pytest.mark.parametrize(
  "value, loss, slope",
  [(0.2, 0.5 * 0.8**2, -0.8), (0.9, 0.5 * 0.5**2, 0.0), (2.0, 0.5, 1.0)],
)
def test_by_hand(value, loss, slope):
  """Old value 0, return 1, clip 0.5: beyond the clip the worse of both counts, the clipped one flat."""
  run = jax.value_and_grad(lambda v: value_loss(v, jnp.zeros((1, 1)), jnp.ones((1, 1)), jnp.ones((1, 1))).sum())
  actual, gradient = run(jnp.full((1, 1), value))
  np.testing.assert_allclose(actual, loss, rtol=1e-6)
  np.testing.assert_allclose(gradient, [[slope]], rtol=1e-6)


@pytest.mark.parametrize("clip", [0.2, None])
def test_gradient_against_loops(clip):
  def reference(values):
    total = 0.0
    for v, o, r, m in zip(values.flat, OLD.flat, RETURNS.flat, MASK.flat, strict=True):
      near = v if clip is None else min(max(v, o - clip), o + clip)
      total += m * max((v - r) ** 2, (near - r) ** 2) / 2
    return total

  rest = jnp.array(OLD), jnp.array(RETURNS), jnp.array(MASK)
  gradient = jax.grad(lambda v: value_loss(v, *rest, clip=clip).sum())(jnp.array(VALUES))
  np.testing.assert_allclose(gradient, finite_difference(reference, VALUES), atol=1e-5)


KERNELS = [
  Kernel(
    value_loss,
    {"values": "BT", "old_values": "BT", "returns": "BT", "mask": "BT"},
    gradients=("values",),
  ),
  Kernel(value_loss, {"values": "BT", "old_values": "BT", "returns": "BT", "mask": "BT"}, {"clip": None}),
]
