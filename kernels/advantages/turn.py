"""IGPO and MT-GRPO: turn rewards normalised in their group, then accumulated over the turns of a row.

Arrays are [B, S], one value per turn, with a mask of the turns that exist; the last turn of a row holds the outcome
reward, the others information gains (`rewards.information_gain`) or rewards of the environment. An unscored row is a
row without turns.

A baseline leaves the expected gradient unchanged if it does not depend on the actions that it is subtracted for. A sum
with one mean for each turn that a row still takes does depend on them if the policy decides when to end: with positive
means, every further turn costs. IGPO's sums have this bias, and so have MT-GRPO's with absent="skip". `mt_grpo` says
how to avoid it, docs/turn_credit.md how large it is.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.reductions import group_deviations, group_std, per_token, zero_masked
from rl_jax.kernels.scans import discounted_sums
from rl_jax.kernels.segments import last_token


def _normalized(x, group_ids, mask, scale):
  """(x - mean_g) / (sqrt(var_g + 1e-8) + 1e-6), or x - mean_g. Both epsilons are the authors'."""
  centred = group_deviations(x, group_ids, mask)
  if not scale:
    return centred
  variance = jnp.square(group_std(x, group_ids, mask, ddof=0))
  return centred / (jnp.sqrt(variance + 1e-8) + 1e-6)[:, None]


def normalize_turn_rewards(
  turn_rewards: Float[Array, "B S"],
  group_ids: Int[Array, " B"],
  mask: Num[Array, "B S"],
  *,
  mode: str = "joint",
  scale: bool = True,
  outcome_weight: Float[Array, ""] | float = 1.0,
  gain_weight: Float[Array, ""] | float = 1.0,
) -> Float[Array, "B S"]:
  """x' = (x - mean_g) / (sqrt(var_g + 1e-8) + 1e-6), var with ddof 0, over all turns of the rows of a group.

  IGPO, arXiv 2510.14967. `mode` "joint": one mean and std for all turn rewards of the group (the paper); "separate":
  one for outcome rewards and one for gains (the authors' later setting). `scale` False leaves out the std. Weights, if
  given, multiply the rewards first (`curriculum_weights`). A constant set and a set of one give 0.

  >>> rewards, group_ids, mask = jnp.array([[0.5, 1.0], [0.0, 0.0]]), jnp.array([7, 7]), jnp.ones((2, 2))
  >>> print(normalize_turn_rewards(rewards, group_ids, mask, mode="separate").round(3))
  [[ 1.  1.]
   [-1. -1.]]
  """
  known_option("normalize_turn_rewards", "mode", mode, ("joint", "separate"))
  same_shape("normalize_turn_rewards", "B S", turn_rewards=turn_rewards, mask=mask)
  exists, rewards = mask != 0, zero_masked(turn_rewards, mask)
  last = last_token(exists)
  rewards = jnp.where(last, outcome_weight * rewards, gain_weight * rewards)
  if mode == "joint":
    normalized = _normalized(rewards, group_ids, exists, scale)
  else:
    normalized = sum(_normalized(rewards, group_ids, part, scale) for part in (last, exists & ~last))
  return jax.lax.stop_gradient(normalized)


def igpo(
  turn_rewards: Float[Array, "B S"],
  group_ids: Int[Array, " B"],
  mask: Num[Array, "B S"],
  *,
  discount: float = 1.0,
  mode: str = "joint",
  scale: bool = True,
  outcome_weight: Float[Array, ""] | float = 1.0,
  gain_weight: Float[Array, ""] | float = 1.0,
) -> Float[Array, "B S"]:
  """A_s = sum_{k >= s} discount^(k - s) x'_k over TURNS, x' from `normalize_turn_rewards`, which takes the options.

  IGPO, arXiv 2510.14967. `segments.on_tokens` puts A_s on the model's tokens of turn s; no whitening follows.
  With rows of one turn this is GRPO with ddof 0.

  >>> rewards, group_ids, mask = jnp.array([[0.5, 1.0], [0.0, 0.0]]), jnp.array([7, 7]), jnp.ones((2, 2))
  >>> print(igpo(rewards, group_ids, mask, scale=False, discount=0.5))
  [[ 0.4375  0.625 ]
   [-0.5625 -0.375 ]]
  """
  normalized = normalize_turn_rewards(
    turn_rewards, group_ids, mask, mode=mode, scale=scale, outcome_weight=outcome_weight, gain_weight=gain_weight
  )
  return jax.lax.stop_gradient(discounted_sums(normalized, mask, discount=discount))


ESTIMATES = ("additive", "cumulative")
ABSENT = ("zero", "skip")


def mt_grpo(
  turn_rewards: Float[Array, "B S"],
  group_ids: Int[Array, " B"],
  mask: Num[Array, "B S"],
  *,
  turn_weight: float = 1.0,
  estimate: str = "additive",
  absent: str = "zero",
  discount: float = 1.0,
  scale: bool = True,
  ddof: int = 1,
  eps: float = 1e-4,
) -> Float[Array, "B S"]:
  """A_k = A^O + turn_weight sum_{l >= k} discount^(l - k) A^I_l, each normalised over the rows of a group.

  MT-GRPO, arXiv 2505.11821, as in the authors' trainer. A^O is GRPO's advantage of the outcomes, on all turns of a row;
  A^I_l is GRPO's advantage of the rewards of turn l, over rows for which l is not the last turn. `scale` False leaves
  out the std. `estimate` "cumulative" is the authors' other form: GRPO's advantage of the discounted sum of rewards
  from turn k on, outcome included, without `turn_weight`. Their episodes have two turns; the sum over more is inferred.

  `absent` says how a row without turn l counts for it. With "zero" it has the reward 0, both in the mean and in its own
  sum: the baseline of turn k is one number for all rows, and without the std, with weight and discount 1, the
  expectation is (n - 1) / n grad J for n rows. With "skip" it does not count: "additive" has the baseline
  sum_{l = k}^{K_i - 1} mean_l, biased because the row's own number of turns K_i decides how many terms it has;
  "cumulative" scales turn k by 1 - E[1 / n_k], n_k the number of rows with turn k, so late turns count less. The std
  adds a further weight by turn and group. With equal numbers of turns, "zero" and "skip" are the same. Constant groups
  and groups of one give 0.

  >>> args = jnp.array([[0.5, 1.0], [0.0, 0.0]]), jnp.array([7, 7]), jnp.array([[1, 1], [1, 0]])
  >>> print(mt_grpo(*args, scale=False))
  [[ 0.75  0.5 ]
   [-0.75  0.  ]]
  >>> print(mt_grpo(*args, scale=False, absent="skip"))
  [[ 0.5  0.5]
   [-0.5  0. ]]
  """
  known_option("mt_grpo", "estimate", estimate, ESTIMATES)
  known_option("mt_grpo", "absent", absent, ABSENT)
  same_shape("mt_grpo", "B S", turn_rewards=turn_rewards, mask=mask)
  exists, rewards = mask != 0, zero_masked(turn_rewards, mask)
  rows, last = exists.any(axis=1), last_token(exists)
  takes_part = lambda turns: jnp.broadcast_to(rows[:, None], turns.shape) if absent == "zero" else turns
  normalized = lambda x, mask: grpo(
    x, group_ids, mask, scale="group" if scale else "none", ddof=ddof, eps=eps, singleton="zero"
  )
  by_turn = jax.vmap(normalized, in_axes=1, out_axes=1)
  if estimate == "cumulative":
    to_come = discounted_sums(rewards, rows[:, None] & jnp.ones_like(exists), discount=discount)
    return jax.lax.stop_gradient(zero_masked(by_turn(to_come, takes_part(exists)), exists))
  of_turns = takes_part(exists & ~last)
  intermediate = discounted_sums(by_turn(jnp.where(last, 0, rewards), of_turns), of_turns, discount=discount)
  outcomes = normalized(jnp.where(last, rewards, 0).sum(axis=1), rows)
  return jax.lax.stop_gradient(per_token(outcomes, exists) + turn_weight * zero_masked(intermediate, exists))
