"""Merging the parameters of a tuned model into those of the model it was tuned from."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rl_jax.kernels._checks import known_option
from rl_jax.kernels.reductions import widen


def _largest(magnitudes: Any, keep: float) -> Any:
  """Masks of the `keep` share of the entries of all arrays together, at least one."""
  entries = jnp.concatenate([x.ravel() for x in jax.tree.leaves(magnitudes)])
  count = max(1, int(keep * entries.size))
  threshold = jnp.sort(entries)[entries.size - count]
  return jax.tree.map(lambda x: x >= threshold, magnitudes)


def update_selective_merge(
  base: Any, tuned: Any, *, keep: float = 0.25, scale: float = 0.7, scope: str = "global"
) -> Any:
  """theta = base + scale M (tuned - base), M the entries that training changed most.

  DLER, arXiv 2510.15110, section 4: brings back accuracy that was lost while responses became shorter. `base` and
  `tuned` are pytrees of one structure; the result has it too, in float32 or wider. M holds the floor(keep n) entries
  of largest |tuned - base|, at least one, and all that tie with the last of them. `scope`: n counts the entries of
  all arrays ("global") or of each array ("per_tensor"). Scope, rounding and ties are not in the paper. No difference
  between base and tuned gives base; keep 1 interpolates.

  >>> base, tuned = {"w": jnp.zeros(3), "b": jnp.ones(1)}, {"w": jnp.array([1.0, -2.0, 0.5]), "b": jnp.array([1.5])}
  >>> print(update_selective_merge(base, tuned, scale=0.5))
  {'b': Array([1.], dtype=float32), 'w': Array([ 0., -1.,  0.], dtype=float32)}
  """
  known_option("update_selective_merge", "scope", scope, ("global", "per_tensor"))
  if not 0 < keep <= 1:
    raise ValueError(f"update_selective_merge: expected 0 < keep <= 1, got {keep}")
  if not jax.tree.all(jax.tree.map(lambda x, y: x.shape == y.shape, base, tuned)):
    raise ValueError("update_selective_merge: expected base and tuned with arrays of the same shapes")
  updates = jax.tree.map(lambda x, y: widen(y) - widen(x), base, tuned)
  magnitudes = jax.tree.map(jnp.abs, updates)
  if scope == "global":
    masks = _largest(magnitudes, keep)
  else:
    masks = jax.tree.map(lambda x: _largest(x, keep), magnitudes)
  return jax.tree.map(lambda x, mask, update: widen(x) + scale * jnp.where(mask, update, 0), base, masks, updates)
