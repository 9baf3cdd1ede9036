"""Intrinsic rewards of goal-conditioned hierarchical RL: how close a state is to its subgoal on a graph of states.

Embeddings come from an encoder E of the nodes of `analysis.state_graph`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import zero_masked


def _similarity(embeddings, goal_embeddings, mask):
  embeddings, goals = (zero_masked(x, mask[..., None]) for x in (embeddings, goal_embeddings))
  return (embeddings * goals).sum(axis=-1)


def g4rl_high_level(
  rewards: Float[Array, "B T"],
  embeddings: Float[Array, "B T E"],
  goal_embeddings: Float[Array, "B T E"],
  mask: Num[Array, "B T"],
  *,
  alpha: float,
) -> Float[Array, "B T"]:
  """r_t + alpha E(s_t) . E(g_t): the external reward, and how close the chosen subgoal is to the state on the graph.

  G4RL, arXiv 2511.10872. `alpha` has no published default; 0 is the plain hierarchy. No gradient; 0 in masked slots.

  >>> args = jnp.array([[1.0]]), jnp.array([[[0.5, 1.0]]]), jnp.array([[[1.0, 0.5]]]), jnp.ones((1, 1))
  >>> print(g4rl_high_level(*args, alpha=0.5))
  [[1.5]]
  """
  same_shape("g4rl_high_level", "B T", rewards=rewards, mask=mask)
  same_shape("g4rl_high_level", "B T E", embeddings=embeddings, goal_embeddings=goal_embeddings)
  return jax.lax.stop_gradient(zero_masked(rewards, mask) + alpha * _similarity(embeddings, goal_embeddings, mask))


def g4rl_low_level(
  next_features: Float[Array, "B T D"],
  goal_features: Float[Array, "B T D"],
  next_embeddings: Float[Array, "B T E"],
  goal_embeddings: Float[Array, "B T E"],
  mask: Num[Array, "B T"],
  *,
  alpha: float,
) -> Float[Array, "B T"]:
  """-||phi(s_{t+1}) - g_t||^2 + alpha E(s_{t+1}) . E(g_t): reach the subgoal, in features and on the graph.

  G4RL, arXiv 2511.10872. `alpha` has no published default. No gradient; 0 in masked slots.

  >>> features = jnp.array([[[0.0, 1.0]]]), jnp.array([[[1.0, 1.0]]])
  >>> embeddings = jnp.array([[[0.5, 1.0]]]), jnp.array([[[1.0, 0.5]]])
  >>> print(g4rl_low_level(*features, *embeddings, jnp.ones((1, 1)), alpha=0.5))
  [[-0.5]]
  """
  same_shape("g4rl_low_level", "B T D", next_features=next_features, goal_features=goal_features)
  same_shape("g4rl_low_level", "B T E", next_embeddings=next_embeddings, goal_embeddings=goal_embeddings)
  away = zero_masked(next_features, mask[..., None]) - zero_masked(goal_features, mask[..., None])
  similarity = _similarity(next_embeddings, goal_embeddings, mask)
  return jax.lax.stop_gradient(alpha * similarity - jnp.square(away).sum(axis=-1))
