"""What stands in masked slots reaches neither values nor gradients."""

from __future__ import annotations

import numpy as np

from tests.kernels.invariances.over_kernels import B, garbage, over, over_functions


@over_functions(lambda k: k.mask)
def test_garbage_in_masked_slots_changes_nothing(kernel, rng):
  arrays = kernel.make(rng)
  spoiled = garbage(kernel, arrays)
  for a, b in zip(kernel.outputs(spoiled), kernel.expected, strict=True):
    np.testing.assert_array_equal(a, b)
    assert np.isfinite(np.asarray(a, np.float32)).all()
  if kernel.gradients:
    actual, expected = kernel.gradient(spoiled), kernel.gradient(arrays)
    for name in kernel.gradients:
      np.testing.assert_array_equal(actual[name], expected[name])
      assert np.isfinite(actual[name]).all()


@over(lambda k: k.mask and k.zero_masked)
def test_masked_slots_hold_zero(kernel, rng):
  arrays = kernel.make(rng)
  mask = arrays[kernel.mask] != 0
  if kernel.mask == "mask" and "token_mask" in arrays:
    mask = arrays["token_mask"] & mask.reshape(B, -1)
  for x in kernel.expected:
    if x.shape == mask.shape:
      assert not np.asarray(x)[~mask].any()


@over(lambda k: k.mask)
def test_all_masked_is_zero_and_finite(kernel, rng):
  arrays = kernel.make(rng)
  arrays[kernel.mask] = np.zeros_like(arrays[kernel.mask])
  for x in kernel.outputs(arrays):
    assert np.isfinite(np.asarray(x, np.float32)).all()
    if kernel.zero_masked and x.ndim:
      assert not np.asarray(x).any()
  for gradient in kernel.gradient(arrays).values() if kernel.gradients else ():
    assert not np.asarray(gradient).any()
