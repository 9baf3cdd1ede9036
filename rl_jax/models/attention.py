"""Softmax attention with float32 scores: over the slots of each row, and over a prefix that several rows share."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Shared(NamedTuple):
  """Keys and values of N prefixes. Row b of B attends to prefix b // (B / N): rows of one prefix stand together."""

  keys: Float[Array, "N K Dh P"]
  values: Float[Array, "N K P Dh"]
  mask: Bool[Array, "N P"]


def attend(
  q: Float[Array, "B K G T Dh"],
  keys: Float[Array, "B K Dh S"],
  values: Float[Array, "B K S Dh"],
  allowed: Bool[Array, "B T S"],
) -> Float[Array, "B K G T Dh"]:
  """softmax(q k) v with float32 scores; a query that may see nothing attends evenly, and is nobody's input."""
  rows, kv, group, time, width = q.shape
  flat = q.reshape(rows, kv, group * time, width)
  scores = jnp.matmul(flat, keys, preferred_element_type=jnp.float32).reshape(rows, kv, group, time, -1)
  scores = jnp.where(allowed[:, None, None], scores, jnp.finfo(jnp.float32).min)
  weights = jax.nn.softmax(scores, axis=-1).astype(values.dtype).reshape(rows, kv, group * time, -1)
  out = jnp.matmul(weights, values, preferred_element_type=jnp.promote_types(values.dtype, jnp.float32))
  return out.astype(values.dtype).reshape(q.shape)


def attend_with_prefix(
  q: Float[Array, "B K G T Dh"],
  keys: Float[Array, "B K Dh S"],
  values: Float[Array, "B K S Dh"],
  allowed: Bool[Array, "B T S"],
  prefix: Shared,
) -> Float[Array, "B K G T Dh"]:
  """`attend` over a row's own slots and all of its prefix, as one softmax whose keys are never repeated.

  The prefix is multiplied once with the queries of all its rows. Two partial softmaxes, each with its sum of
  exponentials, are added up under the larger of their maxima.
  """
  rows, kv, group, time, width = q.shape
  prefixes = prefix.mask.shape[0]
  flat, least = q.reshape(rows, kv, group * time, width), jnp.finfo(jnp.float32).min

  def together(x: Float[Array, "B K q C"]) -> Float[Array, "N K rq C"]:
    x = x.reshape(prefixes, rows // prefixes, *x.shape[1:]).swapaxes(1, 2)
    return x.reshape(*x.shape[:2], -1, x.shape[-1])

  def apart(x: Float[Array, "N K rq C"]) -> Float[Array, "B K q C"]:
    return x.reshape(prefixes, kv, rows // prefixes, -1, x.shape[-1]).swapaxes(1, 2).reshape(rows, kv, -1, x.shape[-1])

  own = jnp.matmul(flat, keys, preferred_element_type=jnp.float32).reshape(rows, kv, group, time, -1)
  own = jnp.where(allowed[:, None, None], own, least)
  shared = jnp.matmul(together(flat), prefix.keys, preferred_element_type=jnp.float32)
  shared = apart(jnp.where(prefix.mask[:, None, None], shared, least)).reshape(rows, kv, group, time, -1)

  highest = jnp.maximum(own.max(axis=-1, keepdims=True), shared.max(axis=-1, keepdims=True))
  highest = jax.lax.stop_gradient(highest)
  own, shared = jnp.exp(own - highest), jnp.exp(shared - highest)
  total = own.sum(axis=-1, keepdims=True) + shared.sum(axis=-1, keepdims=True)
  narrow = lambda x: (x / total).astype(values.dtype).reshape(rows, kv, group * time, -1)
  wide = jnp.promote_types(values.dtype, jnp.float32)
  out = jnp.matmul(narrow(own), values, preferred_element_type=wide)
  out += apart(jnp.matmul(together(narrow(shared)), prefix.values, preferred_element_type=wide))
  return out.astype(values.dtype).reshape(q.shape)
