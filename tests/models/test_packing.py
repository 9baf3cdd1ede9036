"""Packing: where texts go, and that they come back."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.models.packing import first_fit, packing, rows_needed

LENGTHS = jnp.array([[2, 4, 3, 1], [0, 5, 0, 5], [0, 0, 0, 0]])
WIDTH = 5


def test_first_fit_by_hand():
  """Of the first group 4 opens a row, 3 the next, 2 fits behind 3 and 1 behind 4."""
  placed = first_fit(LENGTHS, WIDTH)
  np.testing.assert_array_equal(placed.rows[0], [1, 0, 1, 0])
  np.testing.assert_array_equal(placed.offsets[0], [3, 0, 0, 4])
  np.testing.assert_array_equal(placed.rows[1, 1::2], [0, 1])
  np.testing.assert_array_equal(rows_needed(LENGTHS, WIDTH), [2, 2, 0])


def test_slots_by_hand():
  packed = packing(LENGTHS[:1], WIDTH, 2)
  texts = jnp.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 0], [7, 8, 9, 0, 0], [10, 0, 0, 0, 0]])
  rows = packed.pack(texts, 2)
  np.testing.assert_array_equal(rows, [[3, 4, 5, 6, 10], [7, 8, 9, 1, 2]])
  np.testing.assert_array_equal(packed.sources[0] // WIDTH, [1, 1, 1, 1, 3, 2, 2, 2, 0, 0])
  np.testing.assert_array_equal(packed.ends(LENGTHS[:1])[0], [9, 3, 7, 4])
  np.testing.assert_array_equal(packed.unpack(rows, 4), texts)


def test_any_texts_come_back_from_the_rows_that_they_need():
  rng = np.random.default_rng(0)
  lengths = jnp.asarray(rng.integers(0, 9, (50, 6)))
  inside = jnp.arange(8) < lengths[:, :, None]
  texts = jnp.where(inside, jnp.asarray(rng.integers(1, 99, inside.shape)), 0).reshape(-1, 8)
  needed = int(rows_needed(lengths, 8).max())
  assert np.all(rows_needed(lengths, 8) * 8 >= lengths.sum(axis=1))
  for rows in (needed, 6):
    packed = packing(lengths, 8, rows)
    held = packed.pack(texts, rows)
    assert held.shape == (50 * rows, 8)
    np.testing.assert_array_equal((held.reshape(50, -1) > 0).sum(axis=1), lengths.sum(axis=1))
    np.testing.assert_array_equal(packed.unpack(held, 6), texts)


def test_features_move_with_their_slots_and_gradients_back():
  packed = packing(LENGTHS[:1], WIDTH, 2)
  states = jax.random.normal(jax.random.key(0), (2, WIDTH, 3))
  found, back = jax.vjp(lambda x: packed.unpack(x, 4), states)
  np.testing.assert_array_equal(packed.pack(found, 2), states)
  np.testing.assert_array_equal(back(found)[0], states)
