"""Compiled is the same as op by op, and a batch of calls the same as one call after the other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from tests.kernels.invariances.over_kernels import assert_close, over_functions


@over_functions()
def test_jit_equals_eager(kernel, rng):
  assert_close(kernel.jitted(kernel.make(rng)), kernel.expected)


@over_functions()
def test_vmap_equals_loop(kernel, rng):
  batches = [kernel.make(rng) for _ in range(2)]
  stacked = {name: np.stack([b[name] for b in batches]) for name in batches[0]}
  looped = [jnp.stack(leaves) for leaves in zip(kernel.expected, kernel.eager(batches[1]), strict=True)]
  assert_close(jax.vmap(kernel.call)({name: jnp.asarray(x) for name, x in stacked.items()}), looped)
