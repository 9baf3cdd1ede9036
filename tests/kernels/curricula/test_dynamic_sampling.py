from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.curricula.dynamic_sampling import informative_groups


def test_kept_groups():
  metric = jnp.array([1.0, 1.0, 0.0, 1.0, 0.0, 0.0, jnp.nan, 0.0])
  ids = jnp.array([5, 5, 9, 9, 2, 7, 5, 7])
  mask = jnp.array([True, True, True, True, True, True, False, False])
  # 5 is all correct once its unscored row is left out, 9 is mixed, 2 and the scored part of 7 are single samples.
  expected = [False, False, True, True, True, True, False, False]
  np.testing.assert_array_equal(informative_groups(metric, ids, mask), expected)


def test_equal_metrics_that_are_not_exact_in_binary():
  assert not informative_groups(jnp.full(3, 0.1), jnp.zeros(3, jnp.int32), jnp.ones(3, bool)).any()
