"""Agreement of two arrays, by hand and against float64."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.analysis.agreement import (
  average_ranks,
  correlation,
  order_reversals,
  rank_correlation,
  sign_agreement,
  unexplained,
)
from tests.kernels.kernel import Kernel, compiled

ALL = jnp.ones(4)


@pytest.mark.parametrize(
  ("x", "y", "share", "correlation", "signs"),
  [
    ([1, 2, 3, 4], [1, 2, 3, 4], 0, 1, 1),
    ([1, 2, 3, 4], [-2, -4, -6, -8], 0, -1, 0),
    ([1, 1, -1, -1], [1, -1, 1, -1], 1, 0, 0.5),
    ([1, 1, 1, 1], [1, 0, 0, 0], 0.75, 0, 0.25),  # cos 1/2
    ([0, 0, 0, 0], [1, 2, 0, 4], 1, 0, 0.25),
    # Ranks 1.5 1.5 3 4 and 2 1 3.5 3.5: deviations -1 -1 .5 1.5 and -.5 -1.5 1 1, so 4 / 4.5; cos 33 / sqrt(22 * 55).
    ([1, 1, 2, 4], [2, 1, 5, 5], 1 - 33**2 / (22 * 55), 4 / 4.5, 1),
  ],
)
def test_by_hand(x, y, share, correlation, signs):
  x, y = jnp.array(x, jnp.float32), jnp.array(y, jnp.float32)
  np.testing.assert_allclose(unexplained(x, y, ALL).value, share, atol=1e-6)
  np.testing.assert_allclose(rank_correlation(x, y, ALL), correlation, atol=1e-6)
  np.testing.assert_allclose(sign_agreement(x, y, ALL).value, signs, atol=1e-6)


def test_ranks_with_ties_and_masked_entries_against_a_loop():
  rng = np.random.default_rng(0)
  x, mask = rng.integers(0, 9, (6, 7)).astype(np.float32), rng.random((6, 7)) < 0.7
  kept = x[mask].astype(np.float64)
  expected = [np.sum(kept < v) + (np.sum(kept == v) + 1) / 2 for v in kept]
  np.testing.assert_allclose(np.asarray(average_ranks(jnp.asarray(x), jnp.asarray(mask)))[mask], expected)


def test_scale_does_not_matter_even_when_squares_vanish():
  x, y = jnp.array([1.0, -2.0, 0.5, 3.0]), jnp.array([0.5, -1.0, 1.0, 2.0])
  for a, b in ((1e-25, 1.0), (1.0, 1e25)):
    np.testing.assert_allclose(unexplained(a * x, b * y, ALL).value, unexplained(x, y, ALL).value, rtol=1e-5)


def test_correlation_is_numpys_and_keeps_under_positive_lines():
  rng = np.random.default_rng(3)
  x, y = rng.normal(size=(2, 4, 5)).astype(np.float32)
  y += x
  expected = np.corrcoef(x.ravel(), y.ravel())[0, 1]
  np.testing.assert_allclose(correlation(x, y, np.ones_like(x)), expected, atol=1e-6)
  np.testing.assert_allclose(correlation(3 * x - 1, y, np.ones_like(x)), expected, atol=1e-5)
  assert correlation(x, np.ones_like(x), np.ones_like(x)) == 0  # a constant


def test_monotone_maps_keep_the_rank_correlation():
  x, y = jnp.array([1.0, -2.0, 0.5, 3.0]), jnp.array([0.5, 1.0, 1.5, 2.0])
  np.testing.assert_allclose(rank_correlation(jnp.exp(x), y**3, ALL), rank_correlation(x, y, ALL), atol=1e-6)


def test_reversals_against_a_loop_and_under_monotone_maps():
  rng = np.random.default_rng(1)
  x, y, mask = rng.integers(0, 4, 7).astype(np.float32), rng.integers(0, 4, 7).astype(np.float32), np.arange(7) != 2
  found = compiled(order_reversals)(x, y, mask)
  pairs = [(i, j) for i in range(7) for j in range(i + 1, 7) if mask[i] and mask[j]]
  assert np.argwhere(found).tolist() == [[i, j] for i, j in pairs if (x[i] - x[j]) * (y[i] - y[j]) < 0]
  np.testing.assert_array_equal(compiled(order_reversals)(np.exp(x), y, mask), found)
  assert not compiled(order_reversals)(x, x, mask).any()


PAIR = {"x": "BS", "y": "BS", "mask": "BS"}

KERNELS = [
  Kernel(unexplained, PAIR, scope="batch"),
  Kernel(average_ranks, {"x": "BS", "mask": "BS"}, scope="batch"),
  Kernel(correlation, PAIR, scope="batch"),
  Kernel(rank_correlation, PAIR, scope="batch"),
  Kernel(sign_agreement, PAIR, scope="batch"),
  Kernel(order_reversals, {"x": "N", "y": "N", "mask": "N"}, sizes={"N": 4}),
]
