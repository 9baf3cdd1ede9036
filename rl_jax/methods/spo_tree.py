"""SPO-tree: trees whose samples estimate values and are trained on (arXiv 2505.23564).

Idea: each prompt grows a tree of segments of `segment_tokens` tokens. The value of a leaf is its reward, and the value
of any other node the mean over its children. An edge, the tokens that a node adds to its parent's text, earns

  A(n) = V(n) - V(parent)                                                        (siblings add up to 0)

or, with `scale` "group", the same divided by the children's std (the authors call the two rloo and grpo). A training
sample is an edge with A != 0, given the text before it. All of them are trained on, and each tree is computed once
(`Trajectories.trees`). With `edges_per_prompt` (32 in the paper), at most that many edges of each prompt are trained on
at once, at random. Free rows of the batch are filled with edges left over from earlier iterations, until these are
`replay_age` iterations old; each recomputes its stem. The choice of replayed edges, and that they only fill free rows,
is inferred. Whitening, probability mask and loss are those of spo_chain.py.

`prompts_per_iteration` trees grow; `completions_per_prompt` is not read. Rewards are known at leaves only, so `reward`
and `accuracy` are of the leaves among the trained edges: read the held-out metrics.

Metrics: those of spo_chain.py, and
  usable: number of new edges with A != 0, per row of the batch.
  replayed: with `edges_per_prompt`, share of old edges among those trained.
Config: experiments/spo_tree.py. Result: experiments/results/credit.md
Source: authors' code.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import COUNT
from rl_jax.kernels.reductions import Mean, per_token
from rl_jax.methods import policy_gradient, spo_chain
from rl_jax.methods.method import Method, Signal, one_of
from rl_jax.rollouts.replay import with_replay
from rl_jax.rollouts.rollout import PhaseResult, nothing_new
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.rollouts.tree import tree, tree_advantages
from rl_jax.tasks.task import ExtraSpec, Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The paper's options for GSM8K: 6-6-6, segments of 30 tokens."""
  return spo_chain.loss_config() | {
    "branching": (6, 6, 6),  # children by level
    "segment_tokens": 30,  # for all levels but the last, which has no limit
    "scale": "none",  # or "group"
    "edges_per_prompt": None,  # trained on at once; None: all usable edges, without replay
    "replay_age": 8,
    "replay_capacity": None,  # size of the replay buffer; None: replay_age batches
  }


RANGES = spo_chain.LOSS_RANGES | {
  "branching": COUNT,
  "segment_tokens": COUNT,
  "edges_per_prompt": COUNT.optional(),
  "replay_age": COUNT,
  "replay_capacity": COUNT.optional(),
}


def build(config: ConfigDict, task: Task) -> Method:
  """SPO-tree from its section of a config."""
  m = config.method
  one_of(m, "scale", ("none", "group"))
  grown = tree(task, tuple(m.branching), m.segment_tokens, sampling_from(config))

  def valued(models, state, plan, prompts, before, key):
    advantages = tree_advantages(before, levels=len(m.branching), scale=m.scale).advantages
    valued_rows = before.with_extras(edge_advantages=advantages)
    if m.edges_per_prompt is not None:
      return PhaseResult(state, valued_rows, nothing_new(valued_rows), jnp.int32(0))
    usable = valued_rows.row_mask & (advantages != 0)
    share = Mean(usable.sum().astype(jnp.float32), jnp.float32(usable.size))
    return PhaseResult(
      state, valued_rows.replace(row_mask=usable), nothing_new(valued_rows), jnp.int32(0), {"usable": share}
    )

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    advantages = per_token(trajectories.extras["edge_advantages"], spo_chain.trained(trajectories))
    return spo_chain.signal_of(m, trajectories, advantages)

  provides = {**grown.provides, "edge_advantages": ExtraSpec((), "float32", "V of the node - V of its parent")}
  rollout = dataclasses.replace(grown, phases=(*grown.phases, valued), provides=provides)
  if m.edges_per_prompt is not None:
    rows = config.prompts_per_iteration * m.edges_per_prompt
    rollout = with_replay(
      task,
      rollout,
      lambda trajectories: trajectories.extras["edge_advantages"] != 0,
      rows=rows,
      rows_per_group=m.edges_per_prompt,
      capacity=m.replay_age * rows if m.replay_capacity is None else m.replay_capacity,
      max_age=m.replay_age,
      extras={"edge_advantages": jnp.float32},
    )
  loss = spo_chain.loss_function(config, task)
  return policy_gradient.method(
    config, task, signal, papers=("2505.23564",), requires=("edge_advantages",), rollout=rollout, loss=loss
  )
