"""Rewards for correct answers with few tool calls.

OTC, arXiv 2504.14870, as "Toward Efficient Agents", arXiv 2601.14192, has it. The cost multiplies what is correct, so a
wrong answer earns 0 however cheap it is.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import zero_masked


def fewest_calls(
  correct: Num[Array, " B"],
  calls: Int[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Num[Array, " B"],
  *,
  stored: Int[Array, " B"] | None = None,
) -> Int[Array, " B"]:
  """Fewest calls n of a correct response of the group, on every row; -1 without one.

  OTC, arXiv 2504.14870. `stored` are the fewest so far of each row's prompt, -1 for none: n is then the least of both,
  before any reward is computed, so that a new cheapest response is not held against the old record.

  >>> args = jnp.array([1, 1, 0, 0]), jnp.array([4, 2, 1, 0]), jnp.array([7, 7, 7, 9]), jnp.ones(4)
  >>> print(fewest_calls(*args))
  [ 2  2  2 -1]
  """
  same_shape("fewest_calls", "B", correct=correct, calls=calls, group_ids=group_ids, mask=mask)
  solved = (mask != 0) & (correct != 0) & (group_ids[:, None] == group_ids)
  none = jnp.iinfo(jnp.int32).max
  fewest = jnp.where(solved, calls, none).min(axis=1)
  if stored is not None:
    fewest = jnp.minimum(fewest, jnp.where(stored < 0, none, stored))
  return jnp.where(fewest == none, -1, fewest).astype(jnp.int32)


def otc_reward(
  correct: Num[Array, " B"],
  calls: Num[Array, " B"],
  mask: Num[Array, " B"],
  *,
  smoothing: float,
  fewest: Int[Array, " B"] | None = None,
  alpha: float = 1.0,
) -> Float[Array, " B"]:
  """alpha correct r, r = cos(m pi / (2 m + smoothing)) for m calls, or with fewest n > 0: r = sin(m pi / (m + n)).

  OTC, arXiv 2504.14870: the first is its form for PPO, 1 without a call and falling to 0; `fewest` are n of
  `fewest_calls`, its form for GRPO, sin(f pi / (2 n)) with f = 2 n m / (m + n): 1 at m = n, falling on both sides;
  where n is 0 it is the first form. The paper's
  `smoothing` depends on the task. A correct response with m < n can only be where n is an old record. Unscored rows and
  groups without a correct response give 0. No gradient.

  >>> args = jnp.array([1, 1, 0]), jnp.array([0, 4, 0]), jnp.ones(3)
  >>> print(otc_reward(*args, smoothing=4.0).round(3))
  [1.  0.5 0. ]
  >>> print(otc_reward(*args, smoothing=4.0, fewest=jnp.full(3, 4)).round(3))
  [0. 1. 0.]
  """
  arrays = dict(correct=correct, calls=calls, mask=mask)
  same_shape("otc_reward", "B", **(arrays if fewest is None else arrays | {"fewest": fewest}))
  correct, calls = zero_masked(correct, mask), zero_masked(calls, mask)
  efficiency = jnp.cos(calls * jnp.pi / (2 * calls + smoothing))
  if fewest is not None:
    n = jnp.where(fewest > 0, fewest, 1)
    efficiency = jnp.where(fewest > 0, jnp.sin(jnp.pi * calls / (calls + n)), efficiency)
  return jax.lax.stop_gradient(zero_masked(alpha * correct * efficiency, mask))
