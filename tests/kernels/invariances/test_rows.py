"""Order of rows, micro-batches and names of groups do not matter."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from tests.kernels.invariances.over_kernels import B, assert_close, over


@over(lambda k: not k.ordered and any("B" in axes for axes in k.axes.values()))
def test_rows_in_any_order(kernel, rng):
  arrays, order = kernel.make(rng), rng.permutation(B)
  permuted = {name: x[order] if kernel.axes[name].startswith("B") else x for name, x in arrays.items()}
  expected = [np.asarray(x)[order] if x.shape[:1] == (B,) else x for x in kernel.expected]
  assert_close(kernel.eager(permuted), expected)


@over(lambda k: k.scope != "batch" and any("B" in axes for axes in k.axes.values()))
def test_micro_batches(kernel, rng):
  """Halves of the batch, cut between groups: rows concatenate, sums and weights add."""
  arrays = kernel.make(rng)
  if kernel.scope == "group":
    arrays["group_ids"] = np.array([4, 9, 4, -1, -1, -1], np.int32)
  halves = [
    kernel.eager({name: x[rows] if kernel.axes[name].startswith("B") else x for name, x in arrays.items()})
    for rows in (slice(0, B // 2), slice(B // 2, B))
  ]
  wholes = kernel.eager(arrays) if kernel.scope == "group" else kernel.expected
  for whole, a, b in zip(wholes, *halves, strict=True):
    assert_close([jnp.concatenate([a, b]) if whole.ndim else a + b], [whole])


@over(lambda k: "group_ids" in k.axes and len(k.axes) > 1)
def test_group_ids_are_arbitrary(kernel, rng):
  arrays = kernel.make(rng)
  labels = {old: new for old, new in zip(np.unique(arrays["group_ids"]), (2**30, 7), strict=True)}
  relabelled = np.array([labels[i] for i in arrays["group_ids"]], np.int32)
  assert_close(kernel.eager({**arrays, "group_ids": relabelled}), kernel.expected)
