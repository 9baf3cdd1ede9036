"""SALT: the rollouts of one prompt as a graph of states; an edge has the mean advantage of the rollouts that use it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import densify, group_mean, group_size, per_token, zero_masked


class EdgeAdvantages(NamedTuple):
  """Advantages by step, 0 in masked steps; no gradient."""

  advantages: Float[Array, "B S"]
  counts: Float[Array, "B S"]
  """Number of times that the batch walks the edge of a step, loops included."""


def _earlier(x, lag):
  """x of the step `lag` steps earlier, or 0 if there is none."""
  return jnp.pad(x, ((0, 0), (lag, 0)))[:, : x.shape[1]]


def _edge_ids(group_ids, states, actions, next_states, mask, history):
  """Dense ids [B * S] that are equal where the keys are."""
  keys = [jnp.broadcast_to(group_ids[:, None], mask.shape), states, actions, next_states]
  for lag in range(1, history + 1):
    exists = _earlier(mask != 0, lag)
    # Whether an earlier step exists is a key too, so that a missing one differs from any state and action.
    keys += [exists, *(jnp.where(exists, _earlier(x, lag), 0) for x in (states, actions))]
  return densify(*(key.reshape(-1) for key in keys))


def salt(
  advantages: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  states: Int[Array, "B S"],
  actions: Int[Array, "B S"],
  next_states: Int[Array, "B S"],
  mask: Num[Array, "B S"],
  *,
  history: int = 0,
) -> EdgeAdvantages:
  """A_step(i, t) = mean of A_j over all steps (j, t') with the same edge (prompt, state, action, next state).

  SALT, arXiv 2510.20022; the rule is known at second hand, from the appendix of a later paper. `advantages` are those
  of whole rollouts, from `group.grpo` or `group.rloo` with singleton "zero"; states and actions are integer ids of
  their texts, and the steps of a row are in order. Not in the paper: every repetition of a loop counts, and with
  `history` h the h earlier (state, action) pairs must be equal too. No normalisation follows; `on_tokens` spreads the
  result over tokens. An edge that only one rollout uses keeps that rollout's advantage, the sum over all steps stays
  sum_i T_i A_i, and a batch without steps gives 0. All steps are sorted by their keys, so [B, S] arrays move between
  devices.

  >>> states, next_states = jnp.array([[0, 1], [0, 1]]), jnp.array([[1, 2], [1, 3]])
  >>> args = jnp.zeros(2, jnp.int32), states, jnp.zeros((2, 2), jnp.int32), next_states, jnp.ones((2, 2))
  >>> print(salt(jnp.array([1.0, -1.0]), *args).advantages)
  [[ 0.  1.]
   [ 0. -1.]]
  """
  same_shape("salt", "B S", states=states, actions=actions, next_states=next_states, mask=mask)
  same_shape("salt", "B", advantages=advantages, group_ids=group_ids)
  if history < 0:
    raise ValueError(f"salt: history must be a number of steps, 0 or more, got {history}")
  edges = _edge_ids(group_ids, states, actions, next_states, mask, history)
  exists = (mask != 0).reshape(-1)
  shared = group_mean(per_token(advantages, mask).reshape(-1), edges, exists).reshape(mask.shape)
  counts = group_size(edges, exists).reshape(mask.shape)
  return jax.lax.stop_gradient(EdgeAdvantages(zero_masked(shared, mask), zero_masked(counts, mask)))
