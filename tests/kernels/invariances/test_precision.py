"""Half-precision input keeps float32 statistics."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels import layers, scans
from rl_jax.kernels.logprobs import reference
from tests.kernels.invariances.over_kernels import assert_close, over_functions

KEEP_TYPE = (
  scans.recurrence,
  scans.reverse_scan,
  scans.values_after,
  reference.align,
  layers.partition,
  layers.unpartition,
)
"""These give what they are given, in its type."""


@over_functions(lambda k: (k.public or k.function) not in KEEP_TYPE)
def test_half_precision_input_keeps_float32_statistics(kernel, rng):
  arrays = kernel.make(rng)
  floats = [n for n, x in arrays.items() if x.dtype == np.float32]
  half = {**arrays, **{n: jnp.asarray(arrays[n], jnp.bfloat16) for n in floats}}
  rounded = {**half, **{n: half[n].astype(jnp.float32) for n in floats}}
  actual = kernel.outputs(half)
  assert all(x.dtype in (jnp.float32, bool, jnp.int32) for x in actual)
  assert_close(actual, kernel.outputs(rounded))
