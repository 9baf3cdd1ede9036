from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.curricula.filters import accuracy_filter, informative_groups
from tests.kernels.kernel import Kernel


def test_kept_groups():
  metric = jnp.array([1.0, 1.0, 0.0, 1.0, 0.0, 0.0, jnp.nan, 0.0])
  ids = jnp.array([5, 5, 9, 9, 2, 7, 5, 7])
  mask = jnp.array([True, True, True, True, True, True, False, False])
  # 5 is all correct once its unscored row is left out, 9 is mixed, 2 and the scored part of 7 are single samples.
  expected = [False, False, True, True, True, True, False, False]
  np.testing.assert_array_equal(informative_groups(metric, ids, mask), expected)


def test_equal_metrics_that_are_not_exact_in_binary():
  assert not informative_groups(jnp.full(3, 0.1), jnp.zeros(3, jnp.int32), jnp.ones(3, bool)).any()


def test_both_limits_are_kept():
  # Groups of five: one correct (mean 0.2), four correct (0.8), none, all.
  outcomes = jnp.array([1.0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
  ids = jnp.repeat(jnp.array([9, -3, 4, 70]), 5)
  keep = accuracy_filter(outcomes, ids, jnp.ones(20, bool))
  np.testing.assert_array_equal(keep, [True] * 10 + [False] * 10)


def test_unscored_rows_do_not_count_and_one_truncated_response_drops_its_group():
  outcomes, ids = jnp.array([1.0, 1.0, jnp.nan, 1.0, 0.0, 1.0, 0.0]), jnp.array([2, 2, 2, 5, 5, 8, 8])
  mask = jnp.array([True, True, False, True, True, True, True])
  np.testing.assert_array_equal(accuracy_filter(outcomes, ids, mask), [False] * 3 + [True] * 4)
  truncated = jnp.array([False, False, False, False, True, False, False])
  kept = accuracy_filter(outcomes, ids, mask, truncated=truncated)
  np.testing.assert_array_equal(kept, [False] * 5 + [True] * 2)


def test_shapes():
  with pytest.raises(ValueError, match=r"accuracy_filter: expected arrays of one shape \[B\]"):
    accuracy_filter(jnp.ones((2, 1)), jnp.zeros(2, jnp.int32), jnp.ones(2, bool))


def _truncated(rng, shape):
  return rng.random(shape) < 0.3


KERNELS = [
  Kernel(informative_groups, {"metric": "B", "group_ids": "B", "mask": "B"}, scope="group"),
  Kernel(
    accuracy_filter,
    {"outcomes": "B", "group_ids": "B", "mask": "B", "truncated": "B"},
    {"low": -1.0},
    scope="group",
    draws={"truncated": _truncated},
  ),
]
