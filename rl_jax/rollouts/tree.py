"""Trees of responses: every prompt branches into children, each of which branches again after some tokens.

The samples that estimate values are the samples that are trained on. A row is a node: its text from the prompt on, of
which only its own segment, what it added to its parent's text, is the policy's (`loss_mask`, `source_ids`); what came
before is the segment's prompt.
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp

from rl_jax.kernels.advantages.tree import TreeAdvantages, spo_tree
from rl_jax.kernels.reductions import densify
from rl_jax.rollouts.continuation import concatenate, resample_from
from rl_jax.rollouts.rollout import PhaseResult, Rollout, assemble, unasked
from rl_jax.rollouts.sampler import Sampling
from rl_jax.tasks.task import ExtraSpec, Task
from rl_jax.trajectories import POLICY, PROMPT, Trajectories

PROVIDES = {
  "parents": ExtraSpec((), "int32", "row of the node that this one goes on from; -1 under the root"),
  "is_leaf": ExtraSpec((), "bool", "the response ends here"),
  "depths": ExtraSpec((), "int32", "edges between the node and the first level"),
}


def nodes_of(branching: tuple[int, ...]) -> int:
  """Nodes below one prompt: the sum over levels of the products of the numbers of children."""
  return sum(itertools.accumulate(branching, lambda a, b: a * b))


def tree(task: Task, branching: tuple[int, ...], segment_tokens: int, sampling: Sampling) -> Rollout:
  """Rows are all nodes below the prompts, level by level; keeps no state.

  Level l has branching[l] children of every node of the level above (of the prompt, at l = 0), each of at most
  `segment_tokens` new tokens; those of the last level are not cut. A node that ends by itself, or fills the response,
  has no children: the rows for them are not in `row_mask`. Inner nodes are `unfinished`, so only leaves are scored.

  Of the plan, a prompt counts if any of its rows does, with the longest of their limits.

  Extras, all [B]: `parents`, the row that a node continues, -1 for the prompt; `is_leaf`; `depths`, the level.

  Raises: ValueError: an empty level, or segments without tokens.
  """
  if not branching or min(branching) < 1 or segment_tokens < 1:
    raise ValueError(
      f"a tree has levels of at least one child and segments of at least one token, got branching={branching} and "
      f"segment_tokens={segment_tokens}"
    )

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
      )
      full = nodes.unfinished & (nodes.loss_mask.sum(axis=1) >= room)  # of its own limit, with slots left
      unfinished = exists & nodes.unfinished & ~full
      first = sum(part.tokens.shape[0] for part in levels[:-1])
      nodes = nodes.replace(
        row_mask=exists,
        unfinished=unfinished,
        truncated=exists & (nodes.truncated | full),
        source_ids=jnp.where(nodes.loss_mask, POLICY, PROMPT),
      )
      levels.append(
        nodes.with_extras(
          parents=first + parents if level else jnp.full(parents.shape, -1),
          is_leaf=exists & ~unfinished,
          depths=jnp.full(parents.shape, level),
        )
      )
    rows = concatenate(*levels)
    return PhaseResult(state, rows, unasked(rows), rows.sampled_tokens)

  return Rollout(phases=(phase,), provides=PROVIDES)


def tree_advantages(trajectories: Trajectories, *, levels: int, scale: str = "none") -> TreeAdvantages:
  """Values and advantages of the scored rows of `tree`, each [B]; the prompt of each group is the root of its tree.

  An unscored leaf is left out of its parent's mean. See `rl_jax.kernels.advantages.tree.spo_tree`.

  Args:
    levels: of the tree.
  """
  rows = trajectories.tokens.shape[0]
  parents, is_leaf = trajectories.extras["parents"], trajectories.extras["is_leaf"]
  roots = lambda fill, x: jnp.concatenate([jnp.full(rows, fill, x.dtype), x])[None]  # as many as there can be groups
  advantages = spo_tree(
    roots(0.0, jnp.where(trajectories.scored, trajectories.rewards, 0.0)),
    roots(-1, jnp.where(parents < 0, densify(trajectories.group_ids), rows + parents)),
    roots(False, is_leaf),
    roots(True, trajectories.row_mask & (trajectories.reward_mask | ~is_leaf)),
    scale=scale,
    depth=levels,
  )
  return jax.tree.map(lambda x: x[0, rows:], advantages)
