"""The layer's matrix product: value and gradients are those of x @ w, whichever operand is the narrower one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.models.dense import dense

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4)])
@pytest.mark.parametrize("rows", [(2, 7), (6,)])
def test_value_and_gradients(shape, rows):
  x, w, dy = (RNG.normal(size=s).astype(np.float32) for s in ((*rows, shape[0]), shape, (*rows, shape[1])))
  y, pull = jax.vjp(dense, x, w)
  dx, dw = pull(jnp.asarray(dy))
  wide = [a.astype(np.float64) for a in (x, w, dy)]
  np.testing.assert_allclose(y, wide[0] @ wide[1], atol=1e-5)
  np.testing.assert_allclose(dx, wide[2] @ wide[1].T, atol=1e-5)
  flat = [a.reshape(-1, a.shape[-1]) for a in (wide[0], wide[2])]
  np.testing.assert_allclose(dw, flat[0].T @ flat[1], atol=1e-5)


def test_bfloat16_is_summed_in_float32_and_rounded_once():
  """A sum in bfloat16 would stay at 256, where adding 1 is lost."""
  x, w = jnp.ones((2, 1000), jnp.bfloat16), jnp.ones((1000, 3), jnp.bfloat16)
  np.testing.assert_array_equal(dense(x, w).astype(jnp.float32), 1000.0)


def test_vmap_is_a_loop():
  x, w = (RNG.normal(size=s).astype(np.float32) for s in ((3, 2, 4, 5), (3, 5, 2)))
  gradient = jax.grad(lambda x, w: jnp.sin(dense(x, w)).sum(), argnums=(0, 1))
  together = jax.vmap(gradient)(x, w)
  for i in range(3):
    jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, atol=1e-5), together, gradient(x[i], w[i]))


def test_types_stay():
  x, w = jnp.ones((2, 3), jnp.bfloat16), jnp.ones((3, 4), jnp.bfloat16)
  y, pull = jax.vjp(dense, x, w)
  assert {a.dtype for a in (y, *pull(y))} == {jnp.dtype("bfloat16")}
