"""GiGPO: rollouts of one prompt compared as wholes, and their turns compared where they begin in the same state.

Arrays are [B, S], one value per turn, with a mask of the turns that exist. An unscored row is a row without turns.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.advantages.group import grpo, rloo
from rl_jax.kernels.reductions import Mean, densify, group_size, group_sum, per_token, zero_masked
from rl_jax.kernels.scans import discounted_sums

NORMALIZATIONS = ("none", "std", "leave_one_out")


class AnchorAdvantages(NamedTuple):
  """Advantages by turn, 0 in masked turns; no gradient."""

  advantages: Float[Array, "B S"]
  """The row's episode advantage and the weighted step advantage."""
  step: Float[Array, "B S"]
  """Step advantages alone."""
  counts: Float[Array, "B S"]
  """Number of turns of the group that begin in the state of a turn, itself included; 0 for unknown states."""


def _against_other_rows(returns, anchors, exists):
  """Returns minus the mean return of the turns with the same anchor in other rows; as they are where there is none."""
  flat, present = returns.reshape(-1), exists.reshape(-1)
  rows = jnp.repeat(jnp.arange(returns.shape[0]), returns.shape[1])
  own = densify(anchors, rows)
  others = lambda reduce: reduce(anchors) - reduce(own)
  total, count = others(lambda ids: group_sum(flat, ids, present)), others(lambda ids: group_size(ids, present))
  # A difference of sums is not exactly 0 where no other row is left; the difference of counts is.
  baseline = Mean(jnp.where(count > 0, total, 0), count).value
  return zero_masked(flat - baseline, present).reshape(returns.shape)


def gigpo(
  turn_rewards: Float[Array, "B S"],
  states: Int[Array, "B S"],
  group_ids: Int[Array, " B"],
  mask: Num[Array, "B S"],
  *,
  step_weight: float = 1.0,
  discount: float = 0.95,
  normalization: str = "none",
  ddof: int = 1,
  eps: float = 1e-6,
  singleton: str = "raw",
) -> AnchorAdvantages:
  """A_t = A^E + step_weight A^S_t, with A^E = (R - mean_g) / F and A^S_t = (G_t - mean_anchor) / F.

  GiGPO, arXiv 2505.10978, equations 3 and 5 to 8. R is the sum of a row's rewards, G_t = r_t + discount G_{t+1}. An
  anchor is a state of a prompt: all turns of its group that begin in it, of several rows or of one that comes back, are
  compared by what they have earned from there on. `states` are ids from 0. A negative one is unknown: its step
  advantage is 0, as that of an anchor of one turn. `normalization` "none": F = 1 (the authors' default); "std":
  F = std + eps of the group, or of the anchor; "leave_one_out": F = 1 and means over other ROWS, 0 without any.
  `singleton` names A^E of a group of one, as in group.py.

  "leave_one_out" with discount 1 expects (1 + step_weight) grad J. Means with the row itself in them do not: they scale
  the gradient of a state by 1 - E[1 / n], n its turns, and a row that comes back is a part of its own baseline. (For
  episodes they are leave-one-out up to a factor.) Not here: similar texts as one anchor, and the released episode mean
  over turns instead of rows, which counts long rollouts more. All turns are sorted by state, so [B, S] arrays move
  between devices.

  >>> rewards, states = jnp.array([[0.0, 1.0], [0.0, 0.0]]), jnp.array([[0, 1], [0, 2]])
  >>> print(gigpo(rewards, states, jnp.array([7, 7]), jnp.ones((2, 2)), discount=0.5).advantages)
  [[ 0.75  0.5 ]
   [-0.75 -0.5 ]]
  """
  known_option("gigpo", "normalization", normalization, NORMALIZATIONS)
  same_shape("gigpo", "B S", turn_rewards=turn_rewards, states=states, mask=mask)
  exists = mask != 0
  known = exists & (states >= 0)
  returns = discounted_sums(turn_rewards, mask, discount=discount)
  anchors = densify(jnp.broadcast_to(group_ids[:, None], states.shape).reshape(-1), states.reshape(-1))
  of_rows = zero_masked(turn_rewards, mask).sum(axis=1), group_ids, exists.any(axis=1)
  if normalization == "leave_one_out":
    episode, step = rloo(*of_rows, singleton=singleton), _against_other_rows(returns, anchors, known)
  else:
    scale = "none" if normalization == "none" else "group"
    options: dict[str, Any] = {"scale": scale, "ddof": ddof, "eps": eps}
    of_turns = returns.reshape(-1), anchors, known.reshape(-1)
    episode = grpo(*of_rows, **options, singleton=singleton)
    step = grpo(*of_turns, **options, singleton="zero").reshape(states.shape)
  counts = zero_masked(group_size(anchors, known.reshape(-1)).reshape(states.shape), known)
  advantages = per_token(episode, exists) + step_weight * step
  return jax.lax.stop_gradient(AnchorAdvantages(advantages, step, counts))
