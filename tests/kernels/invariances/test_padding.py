"""Slots that are added around what is there change nothing."""

from __future__ import annotations

from tests.kernels.invariances.over_kernels import B, T, assert_close, has_tokens, over, pad
from tests.kernels.kernel import SIZES, is_mask

PADDED = 8


@over(has_tokens)
def test_padding_amount_and_side(kernel, rng):
  arrays = kernel.make(rng)
  for offset in (0, 1, PADDED - T):
    padded = kernel.eager(pad(kernel, arrays, "T", PADDED, offset))
    actual = [x[:, offset : offset + T] if x.shape[:2] == (B, PADDED) else x for x in padded]
    assert_close(actual, kernel.expected)


@over(lambda k: any(is_mask(name) and "S" in axes for name, axes in k.axes.items()))
def test_segments_that_do_not_exist(kernel, rng):
  arrays = kernel.make(rng)
  segments, more = SIZES["S"], SIZES["S"] + 5
  grown = kernel.eager(pad(kernel, arrays, "S", more, 0))
  assert_close([x[:, :segments] if x.shape[:2] == (B, more) else x for x in grown], kernel.expected)
