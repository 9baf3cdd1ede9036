"""A batch of calls is the same as one call after the other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from tests.kernels.invariances.over_kernels import assert_close, over


@over()
def test_vmap_equals_loop(kernel, rng):
  batches = [kernel.make(rng) for _ in range(2)]
  stacked = {name: np.stack([b[name] for b in batches]) for name in batches[0]}
  looped = [jnp.stack(leaves) for leaves in zip(*map(kernel.eager, batches), strict=True)]
  with jax.disable_jit():
    assert_close(jax.vmap(kernel.call)({name: jnp.asarray(x) for name, x in stacked.items()}), looped)
