"""Reverse scans over time that carry through masked slots.

A masked slot (tool output, padding) neither discounts nor resets what passes over it. Rows stay on their devices.
Linear recurrences (discounted sums, GAE) are blocked: a chain of a few slots is one multiply-add, so a sequence shrinks
by that factor until few enough steps are left to scan: faster than a scan over all slots, on a GPU above all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.reductions import zero_masked


def reverse_scan(
  step: Callable[..., tuple[Any, Any]], init: Any, *arrays: Num[Array, "B T"]
) -> tuple[Any, Any]:
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


BLOCK, SCANNED = 4, 64
"""Slots that are chained at a time, and the length from which on a plain scan is as fast."""


def values_after(
  a: Float[Array, "B T"], b: Float[Array, "B T"], last: Float[Array, " B"]
) -> Float[Array, "B T"]:
  """y_{t+1} on slot t, where y_t = b_t + a_t y_{t+1} and y after the last slot is `last`.

  A slot with a 1 and b 0 lets y pass; so the result is of use in masked slots too.

  >>> print(values_after(jnp.full((1, 3), 0.5), jnp.array([[1.0, 2.0, 4.0]]), jnp.array([8.0])))
  [[6. 8. 8.]]
  """
  same_shape("values_after", "B T", a=a, b=b)
  rows, length = a.shape
  if length <= SCANNED:
    step = lambda y, ab: (ab[1] + ab[0] * y, y)
    return jax.lax.scan(step, last, (a.T, b.T), reverse=True, unroll=4)[1].T
  short = -length % BLOCK
  if short:
    a, b = jnp.pad(a, ((0, 0), (0, short)), constant_values=1), jnp.pad(b, ((0, 0), (0, short)))
  a, b = a.reshape(rows, -1, BLOCK), b.reshape(rows, -1, BLOCK)
  # A block's first slot as a function of what comes after the block; the same recurrence over blocks; then each slot.
  product, total = a[..., -1], b[..., -1]
  for i in reversed(range(BLOCK - 1)):
    product, total = a[..., i] * product, b[..., i] + a[..., i] * total
  after = [values_after(product, total, last)]
  for i in reversed(range(1, BLOCK)):
    after.append(b[..., i] + a[..., i] * after[-1])
  return jnp.stack(after[::-1], axis=-1).reshape(rows, -1)[:, :length]


def linear_recurrence(
  a: Float[Array, "B T"], b: Float[Array, "B T"], mask: Num[Array, "B T"], *, gaps: str = "carry"
) -> Float[Array, "B T"]:
  """y_t = b_t + a_t y_{t+1} over the unmasked slots, y after the last one 0; 0 in masked slots.

  `gaps`: what a masked slot does to y on its way to earlier slots: "carry" it unchanged, or "reset" it to 0 (verl's
  REINFORCE++; a tool call then cuts the return of all tokens before it).

  >>> a, b = jnp.full((1, 3), 0.5), jnp.array([[1.0, jnp.nan, 4.0]])
  >>> print(linear_recurrence(a, b, jnp.array([[1, 0, 1]])))
  [[3. 0. 4.]]
  """
  known_option("linear_recurrence", "gaps", gaps, ("carry", "reset"))
  same_shape("linear_recurrence", "B T", a=a, b=b, mask=mask)
  a, b = zero_masked(a, mask), zero_masked(b, mask)
  dtype = jnp.promote_types(a.dtype, b.dtype)
  a, b = a.astype(dtype), b.astype(dtype)
  passing = jnp.where(mask != 0, a, 1.0 if gaps == "carry" else 0.0)
  return zero_masked(b + a * values_after(passing, b, jnp.zeros_like(b[:, 0])), mask)


def discounted_sums(
  x: Float[Array, "B T"], mask: Num[Array, "B T"], *, discount: float = 1.0, gaps: str = "carry"
) -> Float[Array, "B T"]:
  """G_t = x_t + discount G_{t+1} over the unmasked slots; 0 in masked slots.

  What sits on a masked slot is ignored: see `move_to_trainable`. `gaps` as in `linear_recurrence`.

  >>> print(discounted_sums(jnp.array([[0.0, 9.0, 1.0]]), jnp.array([[1, 0, 1]]), discount=0.5))
  [[0.5 0.  1. ]]
  """
  return linear_recurrence(jnp.full_like(zero_masked(x, mask), discount), x, mask, gaps=gaps)


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
  rewards, trained = zero_masked(rewards, attention_mask), mask != 0
  # What is on its way past slot t: nothing behind a trained token, which keeps it.
  passing = jnp.where(trained, 0, rewards)
  total = rewards + values_after((~trained).astype(rewards.dtype), passing, jnp.zeros_like(rewards[:, 0]))
  leading = jnp.where(trained[:, :1], 0, total[:, :1])
  first = trained & (jnp.cumsum(trained, axis=1) == 1)
  return jnp.where(trained, total, 0) + jnp.where(first, leading, 0)
