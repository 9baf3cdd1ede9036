"""The cache: rows repeated, room grown, and writes that stay slice updates under vmap."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.models.cache import Cache, write

ARRAY, NEW = np.zeros((2, 5), np.float32), np.arange(1.0, 5.0, dtype=np.float32).reshape(2, 2)


def test_write_by_hand():
  np.testing.assert_array_equal(write(ARRAY, NEW, 2, 1), [[0, 0, 1, 2, 0], [0, 0, 3, 4, 0]])
  np.testing.assert_array_equal(write(ARRAY.T, NEW.T, jnp.int32(0), 0)[:, 0], [1, 2, 0, 0, 0])


def test_write_keeps_the_type_of_the_cache():
  assert write(ARRAY.astype(jnp.bfloat16), NEW, 0, 1).dtype == jnp.bfloat16


def test_write_under_vmap_is_a_loop_for_shared_and_own_slots():
  arrays, news, slots = np.stack([ARRAY, ARRAY + 9]), np.stack([NEW, -NEW]), np.array([0, 3])
  shared = jax.vmap(lambda a, n: write(a, n, 1, 1))(arrays, news)
  own = jax.vmap(lambda a, n, s: write(a, n, s, 1))(arrays, news, slots)
  one = jax.vmap(lambda n: write(ARRAY, n, 1, 1))(news)
  for i in range(2):
    np.testing.assert_array_equal(shared[i], write(arrays[i], news[i], 1, 1))
    np.testing.assert_array_equal(own[i], write(arrays[i], news[i], slots[i], 1))
    np.testing.assert_array_equal(one[i], write(ARRAY, news[i], 1, 1))


def test_a_shared_slot_compiles_to_no_scatter():
  arrays, news = jnp.zeros((3, 2, 5)), jnp.ones((3, 2, 1))
  text = lambda f: jax.jit(jax.vmap(f, in_axes=(0, 0, None))).lower(arrays, news, jnp.int32(1)).as_text()
  assert "scatter" not in text(lambda a, n, s: write(a, n, s, 1))
  assert "scatter" not in jax.jit(jax.vmap(jax.vmap(lambda a, n: write(a, n, 1, 0)))).lower(arrays, news).as_text()


def test_repeat_and_grow_by_hand():
  mask = jnp.array([[False, True], [True, True]])
  cache = Cache((jnp.arange(8.0).reshape(2, 1, 2, 2),), (jnp.ones((2, 1, 2, 2)),), mask)
  more = cache.repeat(2).grow(3)
  np.testing.assert_array_equal(more.mask[:, :2], [[False, True], [False, True], [True, True], [True, True]])
  assert not more.mask[:, 2:].any() and more.mask.shape == (4, 5)
  assert more.keys[0].size == more.values[0].size == 4 * 2 * 5
  np.testing.assert_array_equal(more.keys[0][1], more.keys[0][0])
  assert float(more.keys[0].sum()) == 2 * 28
