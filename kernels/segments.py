"""Segments (steps, turns) of a sequence: sums over their tokens, and values back on the tokens.

`segment_ids` [B, T] name the segment of each token, 0 .. num_segments - 1; tokens with any other id (-1) or with mask 0
belong to none. Ids need not be contiguous in time. Everything stays within its row, so nothing moves between devices.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._apart import apart
from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import Mean, widen, zero_masked


def _within(segment_ids, mask, num_segments):
  return (mask != 0) & (segment_ids >= 0) & (segment_ids < num_segments)


def segment_sum(
  x: Num[Array, "B T"], segment_ids: Int[Array, "B T"], mask: Num[Array, "B T"], *, num_segments: int
) -> Float[Array, "B S"]:
  """sum of x over the unmasked tokens of each segment; 0 for a segment without tokens.

  >>> x, ids = jnp.array([[1.0, 2.0, 4.0, 8.0]]), jnp.array([[0, 0, 1, -1]])
  >>> print(segment_sum(x, ids, jnp.ones((1, 4)), num_segments=3))
  [[3. 4. 0.]]
  """
  same_shape("segment_sum", "B T", x=x, segment_ids=segment_ids, mask=mask)
  inside = _within(segment_ids, mask, num_segments)
  pool = lambda x, ids: jax.ops.segment_sum(x, ids, num_segments=num_segments)
  return jax.vmap(pool)(zero_masked(x, inside), jnp.where(inside, segment_ids, 0))


def segment_lengths(
  segment_ids: Int[Array, "B T"], mask: Num[Array, "B T"], *, num_segments: int
) -> Float[Array, "B S"]:
  """Number of unmasked tokens of each segment.

  >>> print(segment_lengths(jnp.array([[0, 0, 1, -1]]), jnp.ones((1, 4)), num_segments=3))
  [[2. 1. 0.]]
  """
  return segment_sum(widen(mask != 0), segment_ids, mask, num_segments=num_segments)


def segment_mean(
  x: Num[Array, "B T"], segment_ids: Int[Array, "B T"], mask: Num[Array, "B T"], *, num_segments: int
) -> Float[Array, "B S"]:
  """Mean of x over the unmasked tokens of each segment; 0 for a segment without tokens.

  >>> x, ids = jnp.array([[1.0, 2.0, 4.0, 8.0]]), jnp.array([[0, 0, 1, -1]])
  >>> print(segment_mean(x, ids, jnp.ones((1, 4)), num_segments=3))
  [[1.5 4.  0. ]]
  """
  total = segment_sum(x, segment_ids, mask, num_segments=num_segments)
  return Mean(total, segment_lengths(segment_ids, mask, num_segments=num_segments)).value


def on_tokens(x: Num[Array, "B S"], segment_ids: Int[Array, "B T"], mask: Num[Array, "B T"]) -> Float[Array, "B T"]:
  """The value of a token's segment on each unmasked token; 0 outside segments.

  >>> print(on_tokens(jnp.array([[3.0, 4.0]]), jnp.array([[0, 0, 1, -1]]), jnp.array([[1, 0, 1, 1]])))
  [[3. 0. 4. 0.]]
  """
  same_shape("on_tokens", "B T", segment_ids=segment_ids, mask=mask)
  inside = _within(segment_ids, mask, x.shape[1])
  # Apart from what x is computed from, which would be computed for each token of a segment.
  values = apart(lambda x, ids: jnp.take_along_axis(x, ids, axis=1))(x, jnp.where(inside, segment_ids, 0))
  return zero_masked(values, inside)


def last_token(mask: Num[Array, "*B T"]) -> Bool[Array, "*B T"]:
  """True on the last unmasked slot of each row: where an outcome reward sits; nowhere in a row without any.

  >>> print(last_token(jnp.array([[1, 0, 1, 0], [0, 0, 0, 0]])))
  [[False False  True False]
   [False False False False]]
  """
  slots = jnp.arange(mask.shape[-1])
  return slots == jnp.max(jnp.where(mask != 0, slots, -1), axis=-1, keepdims=True)


def segment_ends(segment_ids: Int[Array, "B T"], mask: Num[Array, "B T"]) -> Bool[Array, "B T"]:
  """True on the last unmasked token of each run of one segment: where a step's reward sits.

  >>> print(segment_ends(jnp.array([[0, 0, 1, 1, -1]]), jnp.array([[1, 1, 1, 0, 1]])))
  [[False  True  True False False]]
  """
  same_shape("segment_ends", "B T", segment_ids=segment_ids, mask=mask)
  inside = (mask != 0) & (segment_ids >= 0)
  slots = jnp.arange(mask.shape[1])
  # The next unmasked token's slot, from a running minimum over the slots after this one.
  after = jax.lax.cummin(jnp.where(inside, slots, mask.shape[1]), axis=1, reverse=True)
  following = jnp.concatenate([after[:, 1:], jnp.full_like(after[:, :1], mask.shape[1])], axis=1)
  last = following == mask.shape[1]
  next_ids = jnp.take_along_axis(segment_ids, jnp.where(last, 0, following), axis=1)
  return inside & (last | (next_ids != segment_ids))
