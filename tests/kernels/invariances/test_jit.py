"""Compiled is the same as op by op."""

from __future__ import annotations

from tests.kernels.invariances.over_kernels import assert_close, over


@over()
def test_jit_equals_eager(kernel, rng):
  arrays = kernel.make(rng)
  assert_close(kernel.expected, kernel.jitted(arrays))
