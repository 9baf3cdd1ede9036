"""Merging parameters (DLER)."""

from __future__ import annotations

from rl_jax.kernels.analysis import merging
from tests.kernels.kernel import Kernel


def _merge(base_w, base_b, tuned_w, tuned_b, **options):
  return merging.update_selective_merge({"w": base_w, "b": base_b}, {"w": tuned_w, "b": tuned_b}, **options)


KERNELS = [
  Kernel(
    _merge,
    {"base_w": "VK", "base_b": "K", "tuned_w": "VK", "tuned_b": "K"},
    {"scope": scope},
    mask=None,
    scope="batch",
    public=merging.update_selective_merge,
  )
  for scope in ("global", "per_tensor")
]
