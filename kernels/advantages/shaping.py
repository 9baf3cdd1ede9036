"""A nudge towards a behaviour, here an early tool call: added to the advantage, and as the reward it should not be.

Arrays are [B]: one response each. `positions` are the token index of the first tool call and are read only in eligible
rows: correct responses with a tool call. Nothing carries a gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import group_deviations, group_mean, standardize, zero_masked


class ShapedAdvantages(NamedTuple):
  """A + bias, and the bias; 0 in unscored rows."""

  advantages: Float[Array, " B"]
  bias: Float[Array, " B"]


def _eligible(function, correct, used_tool, mask, **arrays):
  same_shape(function, "B", correct=correct, used_tool=used_tool, mask=mask, **arrays)
  return (correct != 0) & (used_tool != 0) & (mask != 0)


def aspo(
  advantages: Float[Array, " B"],
  correct: Bool[Array, " B"],
  used_tool: Bool[Array, " B"],
  positions: Num[Array, " B"],
  lengths: Num[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  delta: float = -2.0,
  strength: float = 0.7,
) -> ShapedAdvantages:
  """A'_i = A_i + clip(delta (p_i - mean_E p) / mean_E |o|, -k |A_i|, k |A_i|) for i in E, k = `strength`.

  ASPO, arXiv 2508.19201, equation 2. E are the eligible rows of a group; all others keep A. `advantages` come from
  correctness alone (GRPO, DAPO) and are not normalised again. delta < 0 rewards an early call; k < 1 keeps the sign
  of A. The paper writes k A_i, which is the same for correct responses under GRPO. Its aggressive setting is delta
  -2.5, k 0.9. The bias is 0 where A is (groups all right or all wrong) and where a group has less than two eligible
  rows.

  >>> advantages, correct = jnp.array([0.5, 0.5, -1.0]), jnp.array([True, True, False])
  >>> positions, lengths = jnp.array([10, 30, 0]), jnp.array([90, 110, 50])
  >>> shaped = aspo(advantages, correct, correct, positions, lengths, jnp.array([7, 7, 7]), jnp.ones(3, bool))
  >>> print(shaped.advantages)
  [ 0.7  0.3 -1. ]
  """
  arrays = {"advantages": advantages, "positions": positions, "lengths": lengths}
  eligible = _eligible("aspo", correct, used_tool, mask, **arrays)
  advantages, mean_length = zero_masked(advantages, mask), group_mean(lengths, group_ids, eligible)
  lateness = group_deviations(positions, group_ids, eligible) / jnp.where(mean_length > 0, mean_length, 1)
  bound = strength * jnp.abs(advantages)
  bias = jnp.clip(delta * lateness, -bound, bound)
  return jax.lax.stop_gradient(ShapedAdvantages(advantages + bias, bias))


def early_tool_reward(
  correct: Bool[Array, " B"],
  used_tool: Bool[Array, " B"],
  positions: Num[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  delta: float = -0.5,
  clip: float = 1.0,
  ddof: int = 1,
  eps: float = 1e-6,
) -> Float[Array, " B"]:
  """R_i = correct_i + delta clip((p_i - mean_E p) / std_E p, -c, c) for i in E: the form that ASPO replaces.

  arXiv 2508.19201, equation 1. Under group normalisation, in a group that is all correct, the constant cancels and
  the nudge alone is scaled to unit variance, so that late but correct calls get negative advantages: a baseline to
  compare with. The values of delta, c, ddof and eps are not in the paper. Less than two eligible rows, or calls at one
  position, give the correctness.

  >>> correct, positions = jnp.array([True, True, False]), jnp.array([10, 30, 0])
  >>> print(early_tool_reward(correct, correct, positions, jnp.array([7, 7, 7]), jnp.ones(3, bool)).round(2))
  [1.35 0.65 0.  ]
  """
  eligible = _eligible("early_tool_reward", correct, used_tool, mask, positions=positions)
  lateness = standardize(positions, group_ids, eligible, ddof=ddof, eps=eps)
  return jax.lax.stop_gradient(zero_masked(correct, mask) + delta * jnp.clip(lateness, -clip, clip))
