"""SLATE's reward of one search or answer step, from a judge's scores."""

from __future__ import annotations

import jax
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import zero_masked


def judged_step_reward(
  reasoning_scores: Num[Array, " B"],
  action_scores: Num[Array, " B"],
  is_answer: Bool[Array, " B"],
  steps: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  budget: int = 4,
  bonus: float = 0.1,
) -> Float[Array, " B"]:
  """r = r_reasoning + r_action, plus bonus (budget - t) / budget for a step that answers: early answers earn more.

  SLATE, arXiv 2602.23440, equation 3. Rows are candidate steps; the scores are -1, 0 or 1 (0 where the judge failed),
  the action a query or an answer. `steps` t counts from 1, so that an answer in the last step earns no bonus; the
  authors' code counts from 0. 0 in rows that are not candidates.

  >>> ones = jnp.ones(2, jnp.int32)
  >>> print(judged_step_reward(ones, ones, jnp.array([False, True]), ones, jnp.array([True, True])))
  [2.    2.075]
  """
  same_shape(
    "judged_step_reward",
    "B",
    reasoning_scores=reasoning_scores,
    action_scores=action_scores,
    is_answer=is_answer,
    steps=steps,
    mask=mask,
  )
  if budget < 1:
    raise ValueError(f"judged_step_reward: expected a budget of at least 1 step, got {budget}")
  early = zero_masked(bonus * (budget - zero_masked(steps, mask)) / budget, is_answer)
  return jax.lax.stop_gradient(
    zero_masked(zero_masked(reasoning_scores, mask) + zero_masked(action_scores, mask) + early, mask)
  )
