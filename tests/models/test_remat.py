"""Recomputed blocks: the same gradient, memory for one block instead of all, and no NaN hidden."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.models.remat import recomputed


def block(params, x, scale):
  inner = jnp.tanh(x @ params["up"] * scale)
  return x + inner @ params["down"], inner.sum()


def loss(block):
  def value(layers, x, scale):
    total = 0.0
    for params in layers:
      x, more = block(params, x, scale)
      total += more
    return (x * x).sum() + total

  return value


def layers(count, width, inner):
  keys = jax.random.split(jax.random.key(0), count)
  one = lambda key: {"up": jax.random.normal(key, (width, inner)), "down": jax.random.normal(key, (inner, width))}
  return [jax.tree.map(lambda w: 0.1 * w, one(key)) for key in keys]


@pytest.mark.parametrize("seeds", [False, True])
def test_gradients_by_parameters_and_input(seeds):
  x, scale = jax.random.normal(jax.random.key(1), (2, 3, 4)), jnp.array([1, 2, 3, 4, 5])
  plain, again = (jax.value_and_grad(loss(f), argnums=(0, 1)) for f in (block, recomputed(block)))
  if seeds:
    x = jnp.stack([x, 2 * x])
    plain, again = (jax.vmap(f, in_axes=(None, 0, None)) for f in (plain, again))
  want, got = (jax.jit(f)(layers(3, 4, 5), x, scale) for f in (plain, again))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), want, got)


def test_memory_is_that_of_one_block():
  """8 blocks of 16 MiB inside; of the compiler's program, as it is run."""
  x = jax.ShapeDtypeStruct((64, 64, 16), jnp.float32)
  shapes = jax.eval_shape(lambda: layers(8, 16, 1024))
  before = jax.config.read("jax_disable_most_optimizations")
  jax.config.update("jax_disable_most_optimizations", False)
  try:
    size = lambda f: jax.jit(jax.grad(loss(f))).lower(shapes, x, 1.0).compile().memory_analysis().temp_size_in_bytes
    plain, again = size(block), size(recomputed(block))
  finally:
    jax.config.update("jax_disable_most_optimizations", before)
  assert plain > 8 * 2**24 and again < 5 * 2**24, (plain, again)


def test_a_nan_stays_one():
  x = jnp.ones((1, 2, 4)).at[0, 0, 0].set(jnp.nan)
  gradient = jax.grad(loss(recomputed(block)))(layers(2, 4, 5), x, 1.0)
  assert all(np.isnan(leaf).any() for leaf in jax.tree.leaves(gradient))
