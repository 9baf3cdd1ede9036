"""Rows in other batches: fewer at a time, longer, with more segments. What is added around them changes nothing."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from tests.kernels.invariances.over_kernels import (
  B,
  T,
  assert_close,
  has_rows,
  has_segments,
  has_tokens,
  over_functions,
  pad,
)
from tests.kernels.kernel import SIZES

PADDED, MORE = 8, SIZES["S"] + 5
HALVES = slice(0, B // 2), slice(B // 2, B)


def splits(kernel):
  return kernel.scope != "batch" and has_rows(kernel)


@over_functions(lambda k: has_tokens(k) or has_segments(k) or splits(k))
def test_micro_batches_with_padding_on_any_side(kernel, rng):
  """Halves of the batch, cut between groups, where no row counts for all: rows concatenate, sums and weights add."""
  arrays, expected = kernel.make(rng), kernel.expected
  if kernel.scope == "group":
    arrays["group_ids"] = np.array([4, 9, 4, -1, -1, -1], np.int32)
    expected = kernel.outputs(arrays)
  parts = HALVES if splits(kernel) else (slice(0, B),)
  for offsets in ((0, PADDED - T), (1, 0), (PADDED - T, 1)):
    found = [_padded(kernel, arrays, rows, offset) for rows, offset in zip(parts, offsets, strict=False)]
    whole = [jnp.concatenate(x) if x[0].ndim and len(x) > 1 else sum(x) for x in zip(*found, strict=True)]
    assert_close(whole, expected)


def _padded(kernel, arrays, rows, offset):
  """Outputs for some of the rows, each with slots before and after it, and without those slots in the end."""
  some = {name: x[rows] if kernel.axes[name].startswith("B") else x for name, x in arrays.items()}
  if has_tokens(kernel):
    some = pad(kernel, some, "T", PADDED, offset)
  if has_segments(kernel):
    some = pad(kernel, some, "S", MORE, 0)
  kept = {PADDED: slice(offset, offset + T), MORE: slice(0, SIZES["S"])}
  count = rows.stop - rows.start
  return [
    x[:, kept[x.shape[1]]] if x.ndim > 1 and x.shape[0] == count and x.shape[1] in kept else x
    for x in kernel.outputs(some)
  ]
