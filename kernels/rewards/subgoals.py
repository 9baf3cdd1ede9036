"""HiPER's reward shaping: penalties on turns that keep their subgoal, change its words, or act invalidly."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.reductions import widen, zero_masked


def subgoal_shaping(
  rewards: Float[Array, "B S"],
  switch: Num[Array, "B S"],
  subgoal_ids: Int[Array, "B S"],
  valid_actions: Bool[Array, "B S"],
  mask: Num[Array, "B S"],
  *,
  keep_penalty: float = -0.3,
  keep_mode: str = "normalized",
  inconsistency_penalty: float = -0.3,
  invalid_penalty: float = -0.1,
) -> Float[Array, "B S"]:
  """r_t plus keep_penalty / (turns of the row) on KEEP turns, plus the penalties of inconsistent and invalid turns.

  HiPER, arXiv 2602.16165, authors' code, defaults for ALFWorld, whose success is worth 10. Turns that exist come first.
  `switch` is the raw decision: a KEEP on the first turn counts. `keep_mode` "normalized" sums to keep_penalty times the
  share of KEEP turns and spares rows of one turn; "fixed" puts the whole keep_penalty on each KEEP turn. Inconsistent
  is a KEEP turn whose subgoal differs from that of the turn before; `subgoal_ids` number the texts, negative: none, and
  then nothing is compared. Comes before the advantages (`advantages.hierarchy`).

  >>> r, valid = jnp.zeros((1, 3)), jnp.array([[True, True, False]])
  >>> args = r, jnp.array([[1, 0, 0]]), jnp.array([[4, 5, 5]]), valid, jnp.ones((1, 3))
  >>> print(subgoal_shaping(*args, keep_penalty=-0.75, inconsistency_penalty=-0.5, invalid_penalty=-1.0))
  [[ 0.   -0.75 -1.25]]
  """
  known_option("subgoal_shaping", "keep_mode", keep_mode, ("normalized", "fixed"))
  same_shape(
    "subgoal_shaping",
    "B S",
    rewards=rewards,
    switch=switch,
    subgoal_ids=subgoal_ids,
    valid_actions=valid_actions,
    mask=mask,
  )
  exists = mask != 0
  continued = exists & (switch == 0)
  penalty = jnp.full(exists.shape, keep_penalty)
  if keep_mode == "normalized":
    turns = widen(exists).sum(axis=1, keepdims=True)
    penalty = jnp.where(turns > 1, penalty / jnp.maximum(turns, 1), 0)
  before = jnp.concatenate([jnp.full_like(subgoal_ids[:, :1], -1), subgoal_ids[:, :-1]], axis=1)
  inconsistent = continued & (subgoal_ids >= 0) & (before >= 0) & (subgoal_ids != before)
  shaped = (
    zero_masked(rewards, mask)
    + zero_masked(penalty, continued)
    + inconsistency_penalty * inconsistent
    + invalid_penalty * (exists & (valid_actions == 0))
  )
  return jax.lax.stop_gradient(zero_masked(shaped, mask))
