"""Low-rank adapters (LoRA; Hu et al. 2021, arXiv 2106.09685): a matrix is frozen, and a thin product beside it learns.

In a tree of parameters the adapter of matrix "query" is next to it, as "query_lora_a" and "query_lora_b".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float

from rl_jax.models.dense import dense

TARGETS = ("query", "key", "value", "output", "gate", "up", "down")
"""Matrices of a layer that can have an adapter."""

FIELDS = ("lora_rank", "lora_alpha", "lora_targets")
"""Fields of a model's config about adapters."""

A, B = "_lora_a", "_lora_b"
"""Suffixes of an adapter's two matrices, after the name of the adapted matrix."""


def adapted(
  x: Float[Array, "*B D"],
  weight: Float[Array, "D F"],
  a: Float[Array, "D r"],
  b: Float[Array, "r F"],
  scale: float,
) -> Float[Array, "*B F"]:
  """x W + scale (x A) B (eq. 3, scale = alpha / r), without a gradient for W.

  A starts normally distributed with deviation D^-1/2, B with zeros: the first output is exactly x W.
  """
  return dense(x, jax.lax.stop_gradient(weight)) + scale * dense(dense(x, a), b)


def merged_matrix(
  weight: Float[Array, "*S D F"], a: Float[Array, "*S D r"], b: Float[Array, "*S r F"], scale: float
) -> Float[Array, "*S D F"]:
  """W + scale A B, summed in at least float32, in the type of W."""
  wide = jnp.promote_types(weight.dtype, jnp.float32)
  product = jnp.matmul(a.astype(wide), b.astype(wide), precision=jax.lax.Precision.HIGHEST)
  return (weight.astype(wide) + scale * product).astype(weight.dtype)


def merged(params: Any, scale: float) -> Any:
  """Parameters with every adapter merged into its matrix."""
  flat = flatten_dict(params)

  def one(path: tuple[str, ...], leaf: Array) -> Array:
    a, b = (flat.get((*path[:-1], path[-1] + part)) for part in (A, B))
    return leaf if a is None else merged_matrix(leaf, a, b, scale)

  return unflatten_dict({path: one(path, leaf) for path, leaf in flat.items() if not _is_adapter(path)})


def without(params: Any) -> Any:
  """Parameters without adapters: the model with its adapters switched off."""
  return unflatten_dict({path: leaf for path, leaf in flatten_dict(params).items() if not _is_adapter(path)})


def only(params: Any, paths: Iterable[tuple[str, ...]] = ()) -> Any:
  """The adapters and the parameters at `paths`; None for all others."""
  path_set = set(paths)
  return unflatten_dict(
    {path: leaf if _is_adapter(path) or path in path_set else None for path, leaf in flatten_dict(params).items()}
  )


def onto(base: Any, params: Any) -> Any:
  """`params` whose matrices are those of `base`, a tree like `without(params)`; the adapters stay."""
  without_adapters = jax.tree.map(lambda leaf, _: leaf, base, without(params))
  return unflatten_dict(flatten_dict(params) | flatten_dict(without_adapters))


def is_adapter(name: str) -> bool:
  """Return whether a parameter of this name is a part of an adapter."""
  return name.endswith((A, B))


def _is_adapter(path: tuple[str, ...]) -> bool:
  return is_adapter(path[-1])
