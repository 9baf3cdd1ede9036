"""COPO: a global advantage between prompts, blended in where the responses to a prompt agree.

COPO, arXiv 2508.04138. Responses that all succeed or all fail leave GRPO without gradient. The global advantage
compares the prompts of the batch, and the entropy of a prompt's final answers says how much it counts:
`losses.blended` joins the losses. Arrays are [B]: one response each. Nothing carries a gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.reductions import Mean, densify, group_mean, group_size, group_sum, standardize, zero_masked


class ConsistencyAdvantages(NamedTuple):
  """0 in unscored rows."""

  local: Float[Array, " B"]
  """GRPO's."""
  between: Float[Array, " B"]
  """The global one, between prompts."""
  weights: Float[Array, " B"]
  """Weight of the local loss; the rest is that of the global one."""
  entropy: Float[Array, " B"]
  """Entropy of the final answers, in bits."""
  prompt_rewards: Float[Array, " B"]
  """Reward of the row's prompt, which is compared between prompts."""


def _one_row_of_each_group(group_ids, mask):
  """True on the first scored row of each group."""
  rows, dense = jnp.arange(mask.size), densify(group_ids)
  first = jax.ops.segment_min(jnp.where(mask != 0, rows, mask.size), dense, num_segments=mask.size)[dense]
  return rows == first


def consistency_entropy(
  answers: Int[Array, " B"], group_ids: Int[Array, " B"], mask: Bool[Array, " B"], *, eps: float = 1e-8
) -> Float[Array, " B"]:
  """H_g = -sum_a p_g(a) log2(p_g(a) + eps), in bits, p_g the frequencies of the final answers in the group.

  COPO, arXiv 2508.04138, eps as in its code. `answers` are integer ids of the answers, which need not differ between
  groups. Between 0 (all agree) and log2 of the group's size. Unscored rows do not count and give 0.

  >>> print(consistency_entropy(jnp.array([5, 3, 5, 4]), jnp.array([7, 7, 7, 7]), jnp.ones(4, bool)))
  [1.5 1.5 1.5 1.5]
  """
  same_shape("consistency_entropy", "B", answers=answers, group_ids=group_ids, mask=mask)
  equal = group_size(densify(answers, group_ids), mask)
  frequency = Mean(equal, group_size(group_ids, mask)).value
  # The mean over rows counts each answer by its frequency.
  return zero_masked(-group_mean(jnp.log2(frequency + eps), group_ids, mask), mask)


def consistency_factor(
  entropy: Float[Array, " B"], group_ids: Int[Array, " B"], mask: Bool[Array, " B"]
) -> Float[Array, " B"]:
  """1 - lambda H, lambda = (1 - 1 / n) / log2 n: 1 where all n answers agree, 1 / n where all differ.

  COPO, arXiv 2508.04138: in its code, off in its scripts. 1 for a group of one (lambda 0); 0 in unscored rows.

  >>> print(consistency_factor(jnp.array([1.5, 1.5, 1.5, 1.5]), jnp.array([7, 7, 7, 7]), jnp.ones(4, bool)))
  [0.4375 0.4375 0.4375 0.4375]
  """
  same_shape("consistency_factor", "B", entropy=entropy, group_ids=group_ids, mask=mask)
  size = group_size(group_ids, mask)
  scale = Mean(1 - 1 / jnp.maximum(size, 1), jnp.log2(jnp.maximum(size, 1))).value
  return jax.lax.stop_gradient(zero_masked(1 - scale * zero_masked(entropy, mask), mask))


def between_prompts(
  prompt_rewards: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  ddof: int = 1,
  eps: float = 1e-6,
) -> Float[Array, " B"]:
  """A_i = (R_g - mean R) / (std R + eps), mean and std over the prompts of the batch, each counted once.

  COPO's global advantage, arXiv 2508.04138; over the whole rollout batch, as in its code. `prompt_rewards` hold R_g on
  all rows of a group. One prompt (NaN in the code) and prompts of equal R give 0.

  >>> args = jnp.array([1.0, 1.0, 1.0, 0.0]), jnp.array([7, 7, 7, 9]), jnp.ones(4, bool)
  >>> print(between_prompts(*args, ddof=0, eps=0.0))
  [ 1.  1.  1. -1.]
  """
  same_shape("between_prompts", "B", prompt_rewards=prompt_rewards, group_ids=group_ids, mask=mask)
  once = _one_row_of_each_group(group_ids, mask)
  advantages = standardize(prompt_rewards, None, once, ddof=ddof, eps=eps)
  return jax.lax.stop_gradient(zero_masked(group_sum(advantages, group_ids, once), mask))


def blend_weights(
  entropy: Float[Array, " B"],
  chosen: Bool[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  gamma: float = 20.0,
  rho: float = 1.5,
  soft: bool = True,
) -> Float[Array, " B"]:
  """w_i = sigmoid(gamma (H_g - rho)) on chosen rows: the weight of the local loss; answers that agree leave the global.

  COPO, arXiv 2508.04138. `chosen` marks rows with a local loss at all, the others are the global one's:
  - A_i != 0: groups of equal rewards are global
  - r_i != 0: its scripts; each wrong response of a mixed group is global too, which rewards it where the prompt is
    easier than the others
  - any r_j != 0 in the group: what the paper gives as the reason (not in its code)
  `soft` False: 1 on chosen rows. Unscored rows give 0.

  >>> print(blend_weights(jnp.array([1.5, 1.5]), jnp.array([True, False]), jnp.ones(2, bool)))
  [0.5 0. ]
  """
  same_shape("blend_weights", "B", entropy=entropy, chosen=chosen, mask=mask)
  entropy = zero_masked(entropy, mask)
  weights = jax.nn.sigmoid(gamma * (entropy - rho)) if soft else jnp.ones_like(entropy)
  return jax.lax.stop_gradient(zero_masked(weights, (chosen != 0) & (mask != 0)))


def copo(
  rewards: Float[Array, " B"],
  answers: Int[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  chosen: Bool[Array, " B"] | None = None,
  gamma: float = 20.0,
  rho: float = 1.5,
  scale_by_consistency: bool = False,
  ddof: int = 1,
  eps: float = 1e-6,
) -> ConsistencyAdvantages:
  """GRPO's advantage, the global one of R_g = mean_g r, and the weight of the former (`blend_weights`).

  COPO, arXiv 2508.04138. Rewards are 0 or 1 for correctness. `chosen` None: rows with a local advantage.
  `scale_by_consistency` multiplies R_g by `consistency_factor`. One of its scripts has gamma 5 and rho 1. The local
  advantage of a group of one is its reward / (1 + eps).

  >>> rewards, answers = jnp.array([1.0, 0.0, 1.0, 1.0]), jnp.array([2, 3, 4, 4])
  >>> result = copo(rewards, answers, jnp.array([7, 7, 9, 9]), jnp.ones(4, bool), rho=1.0)
  >>> print(result.local.round(3), result.between.round(3), result.weights)
  [ 0.707 -0.707  0.     0.   ] [-0.707 -0.707  0.707  0.707] [0.5 0.5 0.  0. ]
  """
  same_shape("copo", "B", rewards=rewards, answers=answers, group_ids=group_ids, mask=mask)
  local = grpo(rewards, group_ids, mask, ddof=ddof, eps=eps)
  entropy = consistency_entropy(answers, group_ids, mask)
  prompt_rewards = zero_masked(group_mean(rewards, group_ids, mask), mask)
  if scale_by_consistency:
    prompt_rewards = prompt_rewards * consistency_factor(entropy, group_ids, mask)
  between = between_prompts(prompt_rewards, group_ids, mask, ddof=ddof, eps=eps)
  weights = blend_weights(entropy, local != 0 if chosen is None else chosen, mask, gamma=gamma, rho=rho)
  return ConsistencyAdvantages(local, between, weights, entropy, jax.lax.stop_gradient(prompt_rewards))
