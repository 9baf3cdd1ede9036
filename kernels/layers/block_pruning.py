"""Choice of residual blocks to remove before training, from gradients at the random initialisation.

Layer lottery, arXiv 2301.10835: y_l = f_l(y_{l-1}) + y_{l-1}, so a removed block becomes the identity; the shallower
network keeps the initial weights of the other blocks and is trained as usual. Compare with removing random blocks,
which finds winning tickets too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.reductions import group_deviations, widen

CRITERIA = ("grasp", "snip", "snip_signed")


def block_importance(
  loss: Callable[[Any, Any], Array], blocks: Any, rest: Any = (), *, criterion: str = "grasp", pool: str = "sum"
) -> Float[Array, " L"]:
  """Importance of each block, over its weights theta: sum theta (H g), sum |theta g|, or sum theta g.

  arXiv 2301.10835, on one batch at initialisation; g is the gradient of loss(blocks, rest). All arrays of `blocks` have
  the L blocks as first axis; `rest` is a pytree of the network's other weights. `criterion`: "grasp", GraSP as in its
  own paper (arXiv 2002.07376), which removes the weights with the largest -theta (H g), H g the derivative of the
  gradient along g, over all weights; "snip", SNIP (arXiv 1810.02340); "snip_signed", SNIP with its sign, which is how
  arXiv 2301.10835 words GraSP. Which of the two forms of GraSP it used is inferred, and so is the sum: `pool` "mean"
  differs if blocks differ in size.

  >>> loss = lambda blocks, _: (jnp.square(blocks["w"]) / 2).sum()
  >>> print(block_importance(loss, {"w": jnp.array([[1.0, 2.0], [0.0, 3.0]])}))
  [5. 9.]
  """
  known_option("block_importance", "criterion", criterion, CRITERIA)
  known_option("block_importance", "pool", pool, ("sum", "mean"))
  blocks, rest = jax.tree.map(widen, (blocks, rest))
  counts = {x.shape[:1] for x in jax.tree.leaves(blocks)}
  if len(counts) != 1 or () in counts:
    raise ValueError(f"block_importance: expected arrays with the blocks as first axis, got {sorted(counts)}")
  slope = jax.grad(loss, argnums=(0, 1))
  direction = slope(blocks, rest)
  if criterion == "grasp":
    direction = jax.jvp(slope, (blocks, rest), direction)[1]
  products = jax.tree.map(lambda w, d: w * d, blocks, direction[0])
  products = jax.tree.map(jnp.abs, products) if criterion == "snip" else products
  leaves = jax.tree.leaves(products)
  totals = sum(x.reshape(x.shape[0], -1).sum(axis=1) for x in leaves)
  return totals / (sum(x[0].size for x in leaves) if pool == "mean" else 1)


def lowest_blocks(scores: Float[Array, " L"], removable: Bool[Array, " L"], *, count: int) -> Bool[Array, " L"]:
  """True for the `count` removable blocks with the lowest scores, the first ones of ties; for all if there are fewer.

  arXiv 2301.10835: all at once, over the whole depth. A block at a change of width is not removable.

  >>> print(lowest_blocks(jnp.array([0.1, 0.3, 0.2]), jnp.array([False, True, True]), count=1))
  [False False  True]
  """
  same_shape("lowest_blocks", "L", scores=scores, removable=removable)
  removable = removable != 0
  order = jnp.lexsort((widen(scores), ~removable))
  return removable & (jnp.argsort(order, stable=True) < count)


def linear_cka(x: Float[Array, "B D"], y: Float[Array, "B E"], mask: Num[Array, " B"]) -> Float[Array, ""]:
  """|Y^T X|^2 / (|X^T X| |Y^T Y|), columns centred over the unmasked rows: similarity of two sets of features.

  Linear CKA, arXiv 1905.00414; arXiv 2301.10835 compares a pruned network with its original. From 0 to 1; rotations,
  scales and shifts of either do not matter. 0 where either is constant.

  >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
  >>> print(linear_cka(x, 3 - 2 * x[:, ::-1], jnp.ones(3)).round(3))
  1.0
  """
  if x.ndim != 2 or y.ndim != 2 or not x.shape[:1] == y.shape[:1] == mask.shape:
    raise ValueError(f"linear_cka: expected x [B D], y [B E] and mask [B], got {x.shape}, {y.shape} and {mask.shape}")

  def centred(features):
    away = jax.vmap(lambda column: group_deviations(column, None, mask), in_axes=1, out_axes=1)(features)
    largest = jnp.abs(away).max(initial=0.0)
    return away / jnp.where(largest > 0, largest, 1)  # fourth powers of small values would underflow

  x, y = centred(x), centred(y)
  square = lambda a, b: jnp.square(a.T @ b).sum()
  scale = jnp.sqrt(square(x, x) * square(y, y))
  return jnp.where(scale > 0, square(y, x) / jnp.where(scale > 0, scale, 1), 0)


def winning_ticket(
  accuracy: Float[Array, "*N"], dense_accuracy: Float[Array, "*N"], *, tolerance: float = 0.0
) -> Bool[Array, "*N"]:
  """Return whether accuracy + tolerance >= dense accuracy, all in the same unit.

  arXiv 2301.10835; its relaxed tolerances are one percentage point and one standard deviation.

  >>> print(winning_ticket(jnp.array([0.92, 0.90]), jnp.array(0.92)))
  [ True False]
  """
  return widen(accuracy) + tolerance >= widen(jnp.asarray(dense_accuracy))
