"""IGPO's turn rewards: how much a turn raises the policy's own belief in the right answer.

Turn s of a row (slot s of [B, S], turns that exist come first) is text of the policy and the answer of a tool.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.reductions import masked_mean, widen, zero_masked
from rl_jax.kernels.rewards.potential import potential_shaping
from rl_jax.kernels.segments import last_token


class CurriculumWeights(NamedTuple):
  """Factors of the outcome reward and of the information gains."""

  outcome: Float[Array, ""]
  gain: Float[Array, ""]


def log_beliefs(
  answer_logprobs: Float[Array, "B S L"], mask: Num[Array, "B S"], answer_mask: Num[Array, "B L"]
) -> Float[Array, "B S"]:
  """log pi_s = mean_j log p(a_j | prompt, first s turns, a_<j), over the tokens of the right answer only.

  IGPO, arXiv 2510.14967. exp(log pi) is the geometric mean of the token probabilities. Slot s holds the belief BEFORE
  turn s (slot 0: from the prompt alone), so a row of T turns has T beliefs. An empty answer gives 0: certain, at every
  turn.

  >>> print(log_beliefs(jnp.array([[[-2.0, -3.0, 9.0], [-1.0, -1.0, 9.0]]]), jnp.ones((1, 2)), jnp.array([[1, 1, 0]])))
  [[-2.5 -1. ]]
  """
  if answer_logprobs.ndim != 3 or mask.shape + answer_mask.shape[1:] != answer_logprobs.shape:
    raise ValueError(
      "log_beliefs: expected answer_logprobs [B S L], mask [B S] and answer_mask [B L], "
      f"got {answer_logprobs.shape}, {mask.shape} and {answer_mask.shape}"
    )
  scored = (mask != 0)[:, :, None] & (answer_mask != 0)[:, None, :]
  return jax.lax.stop_gradient(masked_mean(answer_logprobs, scored, axis=-1).value)


def information_gain_rewards(
  beliefs: Float[Array, "B S"], outcome_rewards: Float[Array, " B"], mask: Num[Array, "B S"], *, gain: str = "prob_diff"
) -> Float[Array, "B S"]:
  """r_s = pi_{s+1} - pi_s, the belief after turn s less that before it; the last turn gets the outcome reward instead.

  IGPO, arXiv 2510.14967. `beliefs` from `log_beliefs`. `gain` "prob_diff" (the paper) or "log_prob_diff", the
  difference of log pi (the authors' later setting). `outcome_rewards`: F1 of the answer, or a penalty for its format. A
  row of one turn has the outcome only, a row without turns nothing.

  >>> beliefs = jnp.log(jnp.array([[0.25, 0.5, 0.375]]))
  >>> print(information_gain_rewards(beliefs, jnp.array([0.4]), jnp.ones((1, 3))))
  [[ 0.25  -0.125  0.4  ]]
  """
  known_option("information_gain_rewards", "gain", gain, ("prob_diff", "log_prob_diff"))
  same_shape("information_gain_rewards", "B S", beliefs=beliefs, mask=mask)
  exists, beliefs = mask != 0, zero_masked(beliefs, mask)
  levels = jnp.exp(beliefs) if gain == "prob_diff" else beliefs
  last = last_token(exists)
  gains = potential_shaping(levels, exists)
  return jax.lax.stop_gradient(jnp.where(last, zero_masked(outcome_rewards[:, None], last), gains))


def curriculum_weights(progress: Float[Array, ""] | float) -> CurriculumWeights:
  """Outcome 0.5 -> 1 and gain 1 -> 0.5, linear in the progress of training, 0 to 1 (clipped).

  IGPO, arXiv 2510.14967; off by default. They multiply the rewards before these are normalised
  (`advantages.turn`), so in the mode "separate" they all but cancel.

  >>> print(*curriculum_weights(0.5))
  0.75 0.75
  """
  progress = jnp.clip(widen(jnp.asarray(progress)), 0, 1)
  return jax.lax.stop_gradient(CurriculumWeights(0.5 + 0.5 * progress, 1 - 0.5 * progress))
