"""A compiled batch of calls is the same as one call after the other, compiled or op by op."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.kernels.invariances.over_kernels import assert_close, over_functions
from tests.kernels.kernel import quick_jit


@over_functions()
def test_vmap_equals_a_loop(kernel, rng):
  batches = [kernel.make(rng) for _ in range(2)]
  stacked = {name: np.stack([b[name] for b in batches]) for name in batches[0]}
  looped = [np.stack(leaves) for leaves in zip(*map(kernel.outputs, batches), strict=True)]
  assert_close(quick_jit(jax.vmap(kernel.call))(stacked), looped)


@pytest.mark.slow  # ten programs for each kernel; the examples of test_public.py run op by op
@over_functions()
def test_jit_equals_op_by_op(kernel, rng):
  assert_close(kernel.expected, kernel.eager(kernel.make(rng)))
