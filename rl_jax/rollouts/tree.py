"""Trees of responses: every prompt branches into children, each of which branches again after some tokens.

The samples that estimate values are also trained on. A row is a node and holds its whole text, but only its own
segment, the text that it adds to its parent, counts as sampled (`loss_mask`, `source_ids`).
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from rl_jax.kernels.advantages.tree import TreeAdvantages, spo_tree
from rl_jax.kernels.reductions import densify
from rl_jax.rollouts.continuation import concatenate, resample_from
from rl_jax.rollouts.rollout import PhaseResult, Rollout, assemble, unasked
from rl_jax.rollouts.sampler import Sampling
from rl_jax.tasks.task import ExtraSpec, Task
from rl_jax.trajectories import POLICY, PROMPT, PrefixTrees, Trajectories

PROVIDES = {
  "parents": ExtraSpec((), "int32", "row of the parent node; -1 for children of the prompt"),
  "is_leaf": ExtraSpec((), "bool", "the response ends here"),
  "depths": ExtraSpec((), "int32", "level of the node, 0 for children of the prompt"),
}


def nodes_of(branching: tuple[int, ...]) -> int:
  """Number of nodes below one prompt: the sum over levels of the products of the numbers of children."""
  return sum(itertools.accumulate(branching, lambda a, b: a * b))


def tree(task: Task, branching: tuple[int, ...], segment_tokens: int, sampling: Sampling) -> Rollout:
  """Rollout whose rows are all nodes below the prompts, tree by tree and level by level; keeps no state.

  Level l has branching[l] children of every node of the level above (of the prompt, at l = 0), each of at most
  `segment_tokens` new tokens; nodes of the last level are not cut. A node that ends by itself, or fills the response,
  has no children: `row_mask` is False on their rows. Inner nodes are `unfinished`, so only leaves are scored.

  A prompt of the plan is used if any of its rows is, with the longest of their limits.

  Extras, all [B]: `parents`, the row that a node continues, -1 for the prompt; `is_leaf`; `depths`, the level.

  Raises: ValueError: an empty level, segments without tokens, or no room for the last level.
  """
  if not branching or min(branching) < 1 or segment_tokens < 1:
    raise ValueError(
      f"a tree has levels of at least one child and segments of at least one token, got branching={branching} and "
      f"segment_tokens={segment_tokens}"
    )
  starts = tuple(level * segment_tokens for level in range(len(branching)))
  if starts[-1] >= task.response_tokens:
    raise ValueError(
      f"level {len(branching)} begins after {starts[-1]} tokens, and a response has {task.response_tokens}: take fewer "
      f"levels than branching={branching}, or shorter segments than segment_tokens={segment_tokens}"
    )
  nodes_by_level = tuple(itertools.accumulate(branching, lambda a, b: a * b))

  def phase(models, state, plan, prompts, before, key):
    count, width = prompts.tokens.shape[0], task.response_tokens
    of_prompts = lambda x: x.reshape(count, -1).max(axis=1)
    limits, above = of_prompts(plan.response_limits), of_prompts(plan.row_mask)
    nodes = assemble(
      prompts,
      jnp.full((count, width), task.vocabulary.pad_id),
      jnp.zeros((count, width), bool),
      completions_per_prompt=1,
      row_mask=above,
      truncated=jnp.zeros(count, bool),
    ).replace(unfinished=above)
    levels = []
    for level, children in enumerate(branching):
      last = level == len(branching) - 1
      parents = jnp.repeat(jnp.arange(nodes.tokens.shape[0]), children)
      lengths = nodes.attention_mask[:, nodes.prompt_width :].sum(axis=1)
      limits, exists = limits[parents], (nodes.row_mask & nodes.unfinished)[parents]
      room = limits - lengths[parents]
      nodes = resample_from(
        models["policy"],
        task,
        nodes,
        nodes.prompt_width + lengths,
        jax.random.fold_in(key, level),
        sampling=sampling,
        completions=children,
        max_tokens=None if last else min(segment_tokens, width),
        limits=jnp.where(exists, room if last else jnp.minimum(room, segment_tokens), 0),
        rows_per_prompt=nodes.tokens.shape[0] // count,
        longest=starts[level],
      )
      full = nodes.unfinished & (nodes.loss_mask.sum(axis=1) >= room)  # cut by its own limit, with slots left
      unfinished = exists & nodes.unfinished & ~full
      nodes = nodes.replace(
        row_mask=exists,
        unfinished=unfinished,
        truncated=exists & (nodes.truncated | full),
        source_ids=jnp.where(nodes.loss_mask, POLICY, PROMPT),
      )
      levels.append(
        nodes.with_extras(
          parents=_parents(count, nodes_by_level, level),
          is_leaf=exists & ~unfinished,
          depths=jnp.full(parents.shape, level),
        )
      )
    rows = _tree_by_tree(concatenate(*levels), count, nodes_by_level)
    trees = PrefixTrees(rows.tokens.shape[0], tuple(branching), tuple(rows.prompt_width + start for start in starts))
    rows = rows.replace(trees=(trees,))
    return PhaseResult(state, rows, unasked(rows), rows.sampled_tokens)

  return Rollout(phases=(phase,), provides=PROVIDES)


def _parents(count: int, nodes: tuple[int, ...], level: int) -> Int[Array, " n"]:
  """Row of the parent of each node of a level, tree by tree; -1 for the first level."""
  if not level:
    return jnp.full(count * nodes[0], -1)
  above = sum(nodes[: level - 1]) + jnp.arange(nodes[level]) // (nodes[level] // nodes[level - 1])
  return (jnp.arange(count)[:, None] * sum(nodes) + above).reshape(-1)


def _tree_by_tree(levels: Trajectories, count: int, nodes: tuple[int, ...]) -> Trajectories:
  """Rows of all levels, in the order of `PrefixTrees`."""
  ends = list(itertools.accumulate(count * n for n in nodes))
  of_levels = [jnp.arange(end - count * n, end).reshape(count, n) for n, end in zip(nodes, ends, strict=True)]
  return levels.rows(jnp.concatenate(of_levels, axis=1).reshape(-1))


def tree_advantages(trajectories: Trajectories, *, levels: int, scale: str = "none") -> TreeAdvantages:
  """Values and advantages of the scored rows of `tree`, each [B]; each group's prompt is the root of its tree.

  An unscored leaf is left out of its parent's mean. See `rl_jax.kernels.advantages.tree.spo_tree`.

  Args:
    levels: number of levels of the tree.
  """
  rows = trajectories.tokens.shape[0]
  parents, is_leaf = trajectories.extras["parents"], trajectories.extras["is_leaf"]
  roots = lambda fill, x: jnp.concatenate([jnp.full(rows, fill, x.dtype), x])[None]  # as many groups at most
  advantages = spo_tree(
    roots(0.0, jnp.where(trajectories.scored, trajectories.rewards, 0.0)),
    roots(-1, jnp.where(parents < 0, densify(trajectories.group_ids), rows + parents)),
    roots(False, is_leaf),
    roots(True, trajectories.row_mask & (trajectories.reward_mask | ~is_leaf)),
    scale=scale,
    depth=levels,
  )
  return jax.tree.map(lambda x: x[0, rows:], advantages)
