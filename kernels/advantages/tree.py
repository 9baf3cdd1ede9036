"""SPO-tree: values of sampled partial responses from the leaves below them, and the advantage of each branch.

A row is one tree: `parents` [B, N] holds the node that a node continues, -1 at the root, and a parent's index is below
its children's. `mask` marks the nodes that exist. To `segments` the children of a node are its segment, to
`reductions` they are a group, so every statistic is a shared one and stays within its row.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.reductions import group_deviations, group_std, standardize, zero_masked
from rl_jax.kernels.segments import segment_mean


class TreeAdvantages(NamedTuple):
  """Values and advantages by node, 0 or False in masked nodes; no gradient."""

  values: Float[Array, "B N"]
  children_std: Float[Array, "B N"]
  """Population std of the values of a node's children."""
  advantages: Float[Array, "B N"]
  """Advantages of the tokens that lead from the parent to the node; 0 at the root."""
  keep: Bool[Array, "B N"]
  """True on nodes that are training samples: their text given the text up to their parent."""


def tree_values(
  rewards: Float[Array, "B N"],
  parents: Int[Array, "B N"],
  is_leaf: Bool[Array, "B N"],
  mask: Num[Array, "B N"],
  *,
  depth: int | None = None,
) -> Float[Array, "B N"]:
  """V = reward at a leaf, the unweighted mean of the children's V elsewhere: an early leaf weighs as a whole subtree.

  SPO-tree, arXiv 2505.23564. `rewards` are read at leaves only. `depth` is the number of levels below the root; None
  allows for any tree of N nodes, in N - 1 passes. A node that is no leaf and has no children gives 0.

  >>> parents, is_leaf = jnp.array([[-1, 0, 0, 1, 1]]), jnp.array([[False, False, True, True, True]])
  >>> print(tree_values(jnp.array([[0.0, 0.0, 1.0, 0.0, 1.0]]), parents, is_leaf, jnp.ones((1, 5))))
  [[0.75 0.5  1.   0.   1.  ]]
  """
  same_shape("tree_values", "B N", rewards=rewards, parents=parents, is_leaf=is_leaf, mask=mask)
  nodes = mask.shape[1]
  leaf = (mask != 0) & (is_leaf != 0)
  scores = zero_masked(rewards, leaf)
  back_up = lambda _, values: jnp.where(leaf, scores, segment_mean(values, parents, mask, num_segments=nodes))
  values = jax.lax.fori_loop(0, nodes - 1 if depth is None else depth, back_up, scores)
  return jax.lax.stop_gradient(zero_masked(values, mask))


def spo_tree(
  rewards: Float[Array, "B N"],
  parents: Int[Array, "B N"],
  is_leaf: Bool[Array, "B N"],
  mask: Num[Array, "B N"],
  *,
  scale: str = "none",
  eps: float = 1e-8,
  depth: int | None = None,
  tolerance: float = 1e-9,
) -> TreeAdvantages:
  """A(n) = V(n) - V(parent), with `scale` "group" over (std of the siblings' V + eps); siblings add up to 0.

  SPO-tree, arXiv 2505.23564; `tree_values` gives V. The authors call "none" rloo, though the parent's mean includes the
  node, and "group" grpo; the std has ddof 0. Kept are nodes with |V(n) - V(parent)| above `tolerance`, or above
  rounding if that is more; A is exactly 0 on the others, such as equal siblings, an only child and the root.

  >>> parents, is_leaf = jnp.array([[-1, 0, 0, 1, 1]]), jnp.array([[False, False, True, True, True]])
  >>> tree = spo_tree(jnp.array([[0.0, 0.0, 1.0, 0.0, 0.0]]), parents, is_leaf, jnp.ones((1, 5)))
  >>> print(tree.advantages, tree.keep)
  [[ 0.  -0.5  0.5  0.   0. ]] [[False  True  True False False]]
  """
  known_option("spo_tree", "scale", scale, ("none", "group"))
  values = tree_values(rewards, parents, is_leaf, mask, depth=depth)
  branches = (mask != 0) & (parents >= 0)
  advantages = differences = jax.vmap(group_deviations)(values, parents, branches)
  if scale == "group":
    advantages = jax.vmap(partial(standardize, ddof=0, eps=eps))(values, parents, branches)
  siblings_std = jax.vmap(partial(group_std, ddof=0))(values, parents, branches)
  children_std = segment_mean(siblings_std, parents, branches, num_segments=mask.shape[1])
  # Means of means of equal leaves differ by rounding, which a small std would blow up.
  keep = jnp.abs(differences) > max(tolerance, 8 * float(jnp.finfo(values.dtype).eps))
  return TreeAdvantages(values, zero_masked(children_std, mask), jnp.where(keep, advantages, 0), keep)
