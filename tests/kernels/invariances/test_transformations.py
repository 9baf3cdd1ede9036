"""A compiled batch of calls is the same as one call after the other, op by op."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from tests.kernels.invariances.over_kernels import assert_close, over_functions
from tests.kernels.kernel import quick_jit


@over_functions()
def test_jit_and_vmap_equal_an_eager_loop(kernel, rng):
  batches = [kernel.make(rng) for _ in range(2)]
  stacked = {name: np.stack([b[name] for b in batches]) for name in batches[0]}
  looped = [jnp.stack(leaves) for leaves in zip(*map(kernel.eager, batches), strict=True)]
  assert_close(quick_jit(jax.vmap(kernel.call))(stacked), looped)
