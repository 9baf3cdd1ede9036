"""Cache of keys and values: an argument and a result of the model, never hidden state."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Cache(NamedTuple):
  """Keys and values of all layers, which slots hold a token, and at which position if the model has windows.

  Keys have time last: the product with a query then reads them without a transpose.
  """

  keys: tuple[Float[Array, "B K Dh S"], ...]
  values: tuple[Float[Array, "B K S Dh"], ...]
  mask: Bool[Array, "B S"]
  positions: Int[Array, "B S"] | None = None

  @property
  def slots(self) -> int:
    """Number of slots S, empty ones included."""
    return self.mask.shape[1]

  def rows(self, rows: Int[Array, " M"]) -> Cache:
    """The rows at these indices."""
    return jax.tree.map(lambda x: jnp.take(x, rows, axis=0, mode="clip"), self)

  def without_slots(self, rows: int) -> Cache:
    """Cache like this one with `rows` rows and no slots, to be grown."""
    keys = tuple(jnp.zeros((rows, *x.shape[1:3], 0), x.dtype) for x in self.keys)
    values = tuple(jnp.zeros((rows, x.shape[1], 0, x.shape[3]), x.dtype) for x in self.values)
    positions = None if self.positions is None else jnp.zeros((rows, 0), self.positions.dtype)
    return Cache(keys, values, jnp.zeros((rows, 0), bool), positions)

  def after(self, before: Cache) -> Cache:
    """Cache with the slots of `before` in front of its own, row by row."""
    join = lambda axis: lambda *parts: jnp.concatenate(parts, axis=axis)
    keys, values = tuple(map(join(3), before.keys, self.keys)), tuple(map(join(2), before.values, self.values))
    return Cache(keys, values, *jax.tree.map(join(1), before[2:], self[2:]))

  def repeat(self, times: int) -> Cache:
    """Cache with each row repeated `times` times in succession: one prompt for many completions."""
    return jax.tree.map(lambda x: jnp.repeat(x, times, axis=0), self)

  def grow(self, slots: int) -> Cache:
    """Cache with `slots` more empty slots."""
    last = lambda x: jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, slots)])
    values = tuple(jnp.pad(x, [(0, 0), (0, 0), (0, slots), (0, 0)]) for x in self.values)
    return Cache(tuple(map(last, self.keys)), values, last(self.mask), jax.tree.map(last, self.positions))


def write(array: Array, new: Array, slot: Int[Array, ""] | int, axis: int) -> Array:
  """`array` with `new` written from index `slot` of an axis on, in place if the compiler can.

  JAX vmaps a dynamic_update_slice into a scatter, which XLA does not run in place: a loop under vmap would copy the
  whole cache at every token. With one slot for the whole batch it remains a slice update.
  """

  @jax.custom_batching.custom_vmap
  def update(array, new, slot):
    return jax.lax.dynamic_update_slice_in_dim(array, new, slot, axis)

  @update.def_vmap
  def batched(size, in_batched, array, new, slot):
    if in_batched[2]:
      return jax.vmap(lambda a, n, s: jax.lax.dynamic_update_slice_in_dim(a, n, s, axis))(array, new, slot), True
    arrays = [x if b else jnp.broadcast_to(x, (size, *x.shape)) for x, b in zip((array, new), in_batched, strict=False)]
    return write(*arrays, slot, axis + 1), True

  return update(array, new.astype(array.dtype), jnp.asarray(slot, jnp.int32))
