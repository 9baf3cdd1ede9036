"""Softmax attention with float32 scores, over the slots of each row and over prefixes shared by several rows."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Shared(NamedTuple):
  """Keys and values of N prefixes. Row b of B attends to prefix b // (B / N): rows of one prefix are adjacent."""

  keys: Float[Array, "N K Dh P"]
  values: Float[Array, "N K P Dh"]
  mask: Bool[Array, "M #T P"]
  """Slots visible to all rows of a prefix (M = N) or to each of them (M = B), at all of its T tokens or at each."""


def within(window: int, positions: Int[Array, "B T"], of_keys: Int[Array, "M S"]) -> Bool[Array, "B T S"]:
  """True where a key is at most window - 1 positions before the query; M divides B, as for `Shared`."""
  of_rows = jnp.repeat(of_keys, positions.shape[0] // of_keys.shape[0], axis=0)
  return positions[:, :, None] - of_rows[:, None] < window


def attend(
  q: Float[Array, "B K G T Dh"],
  keys: Float[Array, "B K Dh S"],
  values: Float[Array, "B K S Dh"],
  allowed: Bool[Array, "B T S"],
) -> Float[Array, "B K G T Dh"]:
  """softmax(q k) v with float32 scores. Fully masked queries get uniform weights; their outputs are never used."""
  rows, kv, group, time, width = q.shape
  flat = q.reshape(rows, kv, group * time, width)
  scores = jnp.matmul(flat, keys, preferred_element_type=jnp.float32).reshape(rows, kv, group, time, -1)
  scores = jnp.where(allowed[:, None, None], scores, jnp.finfo(jnp.float32).min)
  weights = jax.nn.softmax(scores, axis=-1).astype(values.dtype).reshape(rows, kv, group * time, -1)
  out = jnp.matmul(weights, values, preferred_element_type=jnp.promote_types(values.dtype, jnp.float32))
  return out.astype(values.dtype).reshape(q.shape)


def attend_with_prefixes(
  q: Float[Array, "B K G T Dh"],
  keys: Float[Array, "B K Dh S"],
  values: Float[Array, "B K S Dh"],
  allowed: Bool[Array, "B T S"],
  prefixes: Sequence[Shared],
) -> Float[Array, "B K G T Dh"]:
  """`attend` over a row's own slots and all of its prefixes, as one softmax without repeated keys.

  Each prefix is multiplied once with the queries of all its rows. The partial softmaxes, each with its sum of
  exponentials, are merged under the largest of their maxima.
  """
  rows, kv, group, time, width = q.shape
  flat, least = q.reshape(rows, kv, group * time, width), jnp.finfo(jnp.float32).min
  wide = jnp.promote_types(values.dtype, jnp.float32)
  scores_of = lambda x, keys: jnp.matmul(x, keys, preferred_element_type=jnp.float32)

  own = scores_of(flat, keys).reshape(rows, kv, group, time, -1)
  scores = [jnp.where(allowed[:, None, None], own, least)]
  for prefix in prefixes:
    shared = _apart(scores_of(_together(flat, prefix), prefix.keys), rows).reshape(rows, kv, group, time, -1)
    mask = jnp.repeat(prefix.mask, rows // prefix.mask.shape[0], axis=0)
    scores.append(jnp.where(mask[:, None, None], shared, least))

  maxima = [part.max(axis=-1, keepdims=True) for part in scores]
  highest = jax.lax.stop_gradient(functools.reduce(jnp.maximum, maxima))
  exponentials = [jnp.exp(part - highest) for part in scores]
  total = functools.reduce(jnp.add, [part.sum(axis=-1, keepdims=True) for part in exponentials])
  narrow = lambda part: (part / total).astype(values.dtype).reshape(rows, kv, group * time, -1)
  of_own, *of_shared = map(narrow, exponentials)
  out = jnp.matmul(of_own, values, preferred_element_type=wide)
  for weights, prefix in zip(of_shared, prefixes, strict=True):
    out += _apart(jnp.matmul(_together(weights, prefix), prefix.values, preferred_element_type=wide), rows)
  return out.astype(values.dtype).reshape(q.shape)


def _together(x: Float[Array, "B K q C"], prefix: Shared) -> Float[Array, "N K rq C"]:
  """The queries of all rows of each prefix."""
  count = prefix.keys.shape[0]
  x = x.reshape(count, x.shape[0] // count, *x.shape[1:]).swapaxes(1, 2)
  return x.reshape(*x.shape[:2], -1, x.shape[-1])


def _apart(x: Float[Array, "N K rq C"], rows: int) -> Float[Array, "B K q C"]:
  """Inverse of `_together`: outputs by row."""
  count, kv = x.shape[:2]
  return x.reshape(count, kv, rows // count, -1, x.shape[-1]).swapaxes(1, 2).reshape(rows, kv, -1, x.shape[-1])
