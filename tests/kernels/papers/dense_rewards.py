"""SCAR, potential shaping, G4RL and the Laplacian distance against reference numbers from their equations."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.analysis import graph_spectrum, state_graph
from rl_jax.kernels.rewards import attribution, goals
from rl_jax.kernels.rewards.potential import potential_shaping
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  kinds = {
    "values": game,
    "credit": token_rewards,
    "potentials": shaping,
    "features": graph,
    "r_ext": hierarchy,
    "A": laplacian,
  }
  kind = next(kind for name, kind in kinds.items() if name in inputs)
  if "blocks" in inputs:
    inputs["blocks"] = block_ids(inputs["blocks"], inputs["N"])
  scalars = {name: value for name, value in inputs.items() if not isinstance(value, jax.Array)}
  arrays = {name: value for name, value in inputs.items() if name not in scalars}
  outputs = quick_jit(partial(kind, **scalars))(**arrays)
  if "exists" in outputs:
    outputs["nodes"] = outputs["nodes"][outputs.pop("exists")]
  return outputs


def block_ids(blocks, num_units):
  ids = np.zeros(num_units, np.int32)
  for k, block in enumerate(blocks):
    ids[np.asarray(block)] = k
  return jnp.asarray(ids)


def game(values, N, blocks=None, perms=None):
  units = jnp.ones((1, N))
  outputs = {"shapley": attribution.shapley(values[None], units)[0]}

  def owen(block_ids):
    return attribution.owen(values[None], jnp.asarray(block_ids)[None], units)[0]

  if blocks is not None:
    outputs["owen"] = owen(blocks)
  if perms is not None:
    outputs |= {
      "owen_single_block": owen(np.zeros(N, np.int32)),
      "owen_singletons": owen(np.arange(N)),
      "perm": attribution.permutation_shapley(
        attribution.prefix_values(values[None], perms[None], units), perms[None], units
      )[0],
      "total": outputs["shapley"].sum(),
    }
  return outputs


def token_rewards(credit, unit_end, mask, terminal_reward, alpha, logprobs, ref_logprobs, kl_coef):
  unit_ids = jnp.searchsorted(unit_end, jnp.arange(mask.size))
  rewards = attribution.scar_rewards(
    credit[None],
    jnp.where(unit_ids < unit_end.size, unit_ids, -1)[None],
    jnp.array([terminal_reward], credit.dtype),
    logprobs[None],
    ref_logprobs[None],
    mask[None],
    alpha=alpha,
    kl_coef=kl_coef,
  )
  return {"rewards": rewards[0]}


def shaping(potentials, gamma, mask):
  return {"F": potential_shaping(potentials[None, :-1], mask[None], discount=gamma, terminal=potentials[None, -1])[0]}


def graph(features, cap, eps_d, emb, beta):
  steps = features[None]
  mask = jnp.ones(steps.shape[:2])
  graph, labels = state_graph.observe(state_graph.empty_graph(steps, capacity=cap), steps, mask, eps=eps_d)
  exists = graph.order >= 0
  embeddings = jnp.zeros((1, cap, emb.shape[1]), emb.dtype).at[0, : emb.shape[0]].set(emb)
  return {
    "nodes": graph.features,
    "exists": exists,
    "A": graph.adjacency[0],
    "labels": labels[0],
    "changes": graph.changes[0],
    "loss": state_graph.reconstruction_loss(embeddings, graph.adjacency, exists)[0],
    "train": state_graph.training_due(graph.changes, capacity=cap, beta=beta).due[0],
  }


def hierarchy(r_ext, g_state, g_goal, alpha_h, next_feature, goal_feature, g_next, alpha_l):
  one = jnp.ones((1, 1))
  slot = lambda x: jnp.asarray(x, g_state.dtype)[None, None]
  high = goals.g4rl_high_level(slot(r_ext), slot(g_state), slot(g_goal), one, alpha=alpha_h)
  low = goals.g4rl_low_level(slot(next_feature), slot(goal_feature), slot(g_next), slot(g_goal), one, alpha=alpha_l)
  return {"r_high": high[0, 0], "r_low": low[0, 0]}


def laplacian(A, B, k):
  nodes, others = jnp.ones(A.shape[0]), jnp.ones(B.shape[0])
  return {
    "spec_path": graph_spectrum.laplacian_spectrum(A, nodes),
    "spec_cycle": graph_spectrum.laplacian_spectrum(B, others),
    "distance": graph_spectrum.laplacian_distance(A, B, nodes, others, k=k),
    "self": graph_spectrum.laplacian_distance(A, A, nodes, nodes, k=k),
  }
