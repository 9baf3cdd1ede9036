from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.analysis.merging import update_selective_merge
from tests.kernels.kernel import Kernel

BASE = {"a": jnp.array([1.0, 1.0, 1.0, 1.0]), "b": {"c": jnp.zeros((2, 2))}}
TUNED = {"a": jnp.array([1.0, 1.5, 0.9, 1.2]), "b": {"c": jnp.array([[4.0, -3.0], [2.0, 0.0]])}}


def test_the_scope_of_the_threshold():
  both = dict(keep=0.25, scale=0.5)
  merged = update_selective_merge(BASE, TUNED, **both)
  np.testing.assert_allclose(merged["a"], BASE["a"])
  np.testing.assert_allclose(merged["b"]["c"], [[2, -1.5], [0, 0]])
  merged = update_selective_merge(BASE, TUNED, **both, scope="per_tensor")
  np.testing.assert_allclose(merged["a"], [1, 1.25, 1, 1])
  np.testing.assert_allclose(merged["b"]["c"], [[2, 0], [0, 0]])


def test_reductions():
  everything = update_selective_merge(BASE, TUNED, keep=1.0, scale=1.0)
  np.testing.assert_allclose(everything["a"], TUNED["a"])
  np.testing.assert_allclose(everything["b"]["c"], TUNED["b"]["c"])
  np.testing.assert_array_equal(update_selective_merge(BASE, BASE)["a"], BASE["a"])


def test_rounding_and_ties():
  zeros = jnp.zeros(7)
  tuned = jnp.array([1.0, -2.0, 2.0, 0.0, 3.0, 0.5, 0.0])
  merge = lambda keep: update_selective_merge(zeros, tuned, keep=keep, scale=1.0)
  # floor(0.25 7) = 1 entry, and at least one.
  np.testing.assert_allclose(merge(0.25), [0, 0, 0, 0, 3, 0, 0])
  np.testing.assert_allclose(merge(0.01), [0, 0, 0, 0, 3, 0, 0])
  # The second of two entries is one of two that tie.
  np.testing.assert_allclose(merge(0.3), [0, -2, 2, 0, 3, 0, 0])


def test_what_is_refused():
  with pytest.raises(ValueError, match="unknown scope 'layer'; known: global, per_tensor"):
    update_selective_merge(BASE, TUNED, scope="layer")
  with pytest.raises(ValueError, match="expected 0 < keep <= 1, got 25"):
    update_selective_merge(BASE, TUNED, keep=25)
  with pytest.raises(ValueError, match="expected base and tuned with arrays of the same shapes"):
    update_selective_merge(BASE, {"a": jnp.ones(1), "b": BASE["b"]})
  with pytest.raises(ValueError, match="structure"):
    update_selective_merge(BASE, {"a": BASE["a"]})


def _merge(base_w, base_b, tuned_w, tuned_b, **options):
  return update_selective_merge({"w": base_w, "b": base_b}, {"w": tuned_w, "b": tuned_b}, **options)


KERNELS = [
  Kernel(
    _merge,
    {"base_w": "VK", "base_b": "K", "tuned_w": "VK", "tuned_b": "K"},
    {"scope": scope},
    mask=None,
    scope="batch",
    public=update_selective_merge,
  )
  for scope in ("global", "per_tensor")
]
