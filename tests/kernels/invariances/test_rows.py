"""Order of rows and names of groups do not matter."""

from __future__ import annotations

import numpy as np

from tests.kernels.invariances.over_kernels import B, assert_close, has_rows, over


@over(lambda k: not k.ordered and has_rows(k))
def test_rows_in_any_order(kernel, rng):
  arrays, order = kernel.make(rng), rng.permutation(B)
  permuted = {name: x[order] if kernel.axes[name].startswith("B") else x for name, x in arrays.items()}
  expected = [np.asarray(x)[order] if x.shape[:1] == (B,) else x for x in kernel.expected]
  assert_close(kernel.outputs(permuted), expected)


@over(lambda k: "group_ids" in k.axes and len(k.axes) > 1)
def test_group_ids_are_arbitrary(kernel, rng):
  arrays = kernel.make(rng)
  labels = {old: new for old, new in zip(np.unique(arrays["group_ids"]), (2**30, 7), strict=True)}
  relabelled = np.array([labels[i] for i in arrays["group_ids"]], np.int32)
  assert_close(kernel.outputs({**arrays, "group_ids": relabelled}), kernel.expected)
