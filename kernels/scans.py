"""Reverse scans over time that carry through masked slots.

A masked slot (tool output, padding) neither discounts nor resets what passes over it. Rows stay on their devices.
Linear recurrences (discounted sums, GAE, counts) are blocked. A block of a few slots is one multiply-add, so a sequence
shrinks by that factor, level by level, until few enough steps are left to scan. The two passes of a level, into blocks
and back to slots, stream memory in its order for all blocks at once: a scan over slots takes short, strided steps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from rl_jax.kernels._apart import apart
from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import widen, zero_masked


def reverse_scan(step: Callable[..., tuple[Any, Any]], init: Any, *arrays: Num[Array, "B T"]) -> tuple[Any, Any]:
  """(carry, y_t) = step(carry, x_t, ...) for t = T-1 .. 0: the final carry, and the y [B, T].

  `init` and the carry are pytrees of [B] arrays, x_t and y_t are [B].

  >>> total, sums = reverse_scan(lambda c, x: (c + x, c + x), jnp.zeros(1), jnp.array([[1.0, 2.0, 3.0]]))
  >>> print(total, sums)
  [6.] [[6. 5. 3.]]
  """
  carry, ys = jax.lax.scan(
    lambda carry, xs: step(carry, *xs), init, tuple(jnp.swapaxes(x, 0, 1) for x in arrays), reverse=True
  )
  return carry, jax.tree.map(lambda y: jnp.swapaxes(y, 0, 1), ys)


BLOCK, SCANNED = 8, 64
"""Slots of a block, and the length up to which a plain scan is as fast. Blocks of 16 no longer fit vector registers."""


def recurrence(
  terms: Callable[..., tuple[Array, Array]],
  output: Callable[..., Array],
  last: Num[Array, " B"],
  *arrays: Num[Array, "B T"],
) -> Num[Array, "B T"]:
  """output(y_{t+1}, x_t, ...) on slot t, where y_t = b_t + a_t y_{t+1}, (a_t, b_t) = terms(x_t, ...), y_T = `last`.

  `terms` and `output` work slot by slot, on arrays of any shape, and are finite on zeros. They are functions so that
  the passes over the blocks read the arrays x themselves and never write a and b. y has the type of `last`. A slot with
  a 1 and b 0 lets y pass, so a masked slot has a result too.

  >>> terms, x = (lambda x: (0.5, x)), jnp.array([[1.0, 2.0, 4.0]])
  >>> print(recurrence(terms, lambda after, x: x + 0.5 * after, jnp.array([8.0]), x))
  [[4. 6. 8.]]
  """
  same_shape("recurrence", "B T", **{f"x{i}": x for i, x in enumerate(arrays)})
  rows, length = arrays[0].shape
  if length <= SCANNED:
    step = lambda y, x: (_stepped(terms(*x), y), output(y, *x))
    return jax.lax.scan(step, last, tuple(x.T for x in arrays), reverse=True, unroll=4)[1].T
  # What is filled in comes before the first slot, so it changes no other.
  count = -(-length // BLOCK)
  short = count * BLOCK - length
  blocks = tuple(jnp.pad(x, ((0, 0), (short, 0))).reshape(rows, count, BLOCK) for x in arrays)

  def composed(*blocks):
    """A block's first slot as a function of what comes after the block: y = total + product y_after."""
    # Slices of the arrays, not of a and b: XLA on a CPU would call a function for each element of those.
    product, total = jnp.ones((), last.dtype), jnp.zeros((), last.dtype)
    for i in reversed(range(BLOCK)):
      a, b = terms(*(x[..., i] for x in blocks))
      product, total = a * product, b + a * total
    return jnp.broadcast_to(product, (rows, count)), jnp.broadcast_to(total, (rows, count))

  def outputs(ends, *blocks):
    """`output` of all slots from y after each block: of two slots in a block, the later one passes first."""
    after, places = ends[..., None], jnp.arange(BLOCK)
    for i in reversed(range(1, BLOCK)):
      after = jnp.where(places < i, _stepped(terms(*(x[..., i : i + 1] for x in blocks)), after), after)
    return output(after, *blocks)

  product, total = apart(composed)(*blocks)
  ends = values_after(product, total, last)
  return apart(outputs)(ends, *blocks).reshape(rows, count * BLOCK)[:, short:]


def _stepped(terms, y):
  a, b = terms
  return b + a * y


def values_after(a: Float[Array, "B T"], b: Float[Array, "B T"], last: Float[Array, " B"]) -> Float[Array, "B T"]:
  """y_{t+1} on slot t, where y_t = b_t + a_t y_{t+1} and y after the last slot is `last`: `recurrence` of a and b.

  >>> print(values_after(jnp.full((1, 3), 0.5), jnp.array([[1.0, 2.0, 4.0]]), jnp.array([8.0])))
  [[6. 8. 8.]]
  """
  return recurrence(lambda a, b: (a, b), lambda after, a, b: after, last, a, b)


def linear_recurrence(
  a: Float[Array, "B T"] | float, b: Float[Array, "B T"], mask: Num[Array, "B T"]
) -> Float[Array, "B T"]:
  """y_t = b_t + a_t y_{t+1} over the unmasked slots, y after the last one 0; 0 in masked slots.

  `a` is one number, or one of each slot. A masked slot lets y pass unchanged.

  >>> a, b = jnp.full((1, 3), 0.5), jnp.array([[1.0, jnp.nan, 4.0]])
  >>> print(linear_recurrence(a, b, jnp.array([[1, 0, 1]])))
  [[3. 0. 4.]]
  """
  same_shape("linear_recurrence", "B T", b=b, mask=mask)
  number = isinstance(a, (int, float))
  by_slot = () if number else (jnp.broadcast_to(a, b.shape),)
  return _linear(a if number else None, b, mask, *by_slot)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _linear(number, b, mask, *a):
  return _over_unmasked(number, b, mask, *a)[0]


def _over_unmasked(number, b, mask, *a):
  """y, and a function that gives y_{t+1}, both 0 in masked slots."""

  def terms(b, mask, *a):
    return jnp.where(mask != 0, widen(a[0]) if a else number, 1.0), zero_masked(b, mask)

  dtype = jnp.result_type(*jax.eval_shape(terms, b, mask, *a))
  run = lambda output: recurrence(terms, output, jnp.zeros_like(b[:, 0], dtype), b, mask, *a)
  y = run(lambda after, b, mask, *a: zero_masked(_stepped(terms(b, mask, *a), after), mask))
  return y, lambda: run(lambda after, b, mask, *a: zero_masked(after, mask))


def _linear_forward(number, b, mask, *a):
  y, after = _over_unmasked(number, b, mask, *a)
  return y, (b, mask, a, after() if a else None)


def _linear_backward(number, residuals, d_y):
  """db_t = g_t with g_t = dy_t + a_{t-1} g_{t-1} over the unmasked slots, and da_t = g_t y_{t+1}: the same, forward.

  The derivative of the passes themselves would be their slices, each filled up to a whole array: 6 times as slow.
  """
  b, mask, a, after = residuals

  def terms(d_y, mask, *a):
    decay = widen(a[0]) if a else number
    return jnp.where(mask != 0, decay, 1.0), zero_masked(jnp.where(mask != 0, decay, 0) * d_y, mask)

  sums = lambda before, d_y, mask, *a: zero_masked(d_y + before, mask)
  flipped = (x[:, ::-1] for x in (d_y, mask, *a))
  d_b = recurrence(terms, sums, jnp.zeros_like(d_y[:, 0]), *flipped)[:, ::-1]
  return d_b.astype(b.dtype), None, *((d_b * after).astype(x.dtype) for x in a)


_linear.defvjp(_linear_forward, _linear_backward)


def discounted_sums(x: Float[Array, "B T"], mask: Num[Array, "B T"], *, discount: float = 1.0) -> Float[Array, "B T"]:
  """G_t = x_t + discount G_{t+1} over the unmasked slots; 0 in masked slots.

  What sits on a masked slot is ignored: see `move_to_trainable`.

  >>> print(discounted_sums(jnp.array([[0.0, 9.0, 1.0]]), jnp.array([[1, 0, 1]]), discount=0.5))
  [[0.5 0.  1. ]]
  """
  return linear_recurrence(discount, x, mask)


def running_sums(x: Num[Array, "B T"]) -> Num[Array, "B T"]:
  """sum_{s <= t} x_s; of a mask [bool], the number of its slots up to and with t (int32). x is finite.

  >>> print(running_sums(jnp.array([[1.0, 0.5, 2.0]])), running_sums(jnp.array([[True, False, True]])))
  [[1.  1.5 3.5]] [[1 1 2]]
  """
  dtype = jnp.int32 if x.dtype == bool else jnp.promote_types(x.dtype, jnp.float32)
  terms = lambda x: (jnp.ones((), dtype), x.astype(dtype))
  sums = recurrence(terms, lambda after, x: after + x.astype(dtype), jnp.zeros_like(x[:, 0], dtype), x[:, ::-1])
  return sums[:, ::-1]


def move_to_trainable(
  rewards: Float[Array, "B T"], mask: Num[Array, "B T"], attention_mask: Bool[Array, "B T"]
) -> Float[Array, "B T"]:
  """Each reward on a token that is not trained moves to the last trained token before it; none is lost.

  Rewards before the first trained token move to that token. Padding (`attention_mask` 0) holds no reward. A row
  without trained tokens gives 0.

  >>> rewards = jnp.array([[0.5, 0.0, 0.0, 1.0, jnp.nan]])
  >>> print(move_to_trainable(rewards, jnp.array([[0, 1, 1, 0, 0]]), jnp.array([[1, 1, 1, 1, 0]])))
  [[0.  0.5 1.  0.  0. ]]
  """
  same_shape("move_to_trainable", "B T", rewards=rewards, mask=mask, attention_mask=attention_mask)
  trained = mask != 0

  def terms(rewards, trained, attention_mask):
    # What is on its way past slot t: nothing behind a trained token, which keeps it.
    return jnp.where(trained, 0.0, 1.0), jnp.where(trained, 0, zero_masked(rewards, attention_mask))

  def arrived(after, rewards, trained, attention_mask):
    return zero_masked(rewards, attention_mask) + after

  last = jnp.zeros_like(widen(rewards[:, 0]))
  total = recurrence(terms, arrived, last, rewards, trained, attention_mask)
  leading = jnp.where(trained[:, :1], 0, total[:, :1])
  slots = jnp.arange(mask.shape[1])
  first = slots == jnp.min(jnp.where(trained, slots, mask.shape[1]), axis=1, keepdims=True)
  return jnp.where(trained, total + jnp.where(first, leading, 0), 0)
