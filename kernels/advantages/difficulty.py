"""A-GRAE: group advantages that are asymmetric in their sign and in the difficulty of the prompt.

A-GRAE, arXiv 2602.05548. Advantages of a group of G responses add up to 0, and their absolute sum 2 G sqrt(p (1 - p))
is largest at success rate p = 1/2 throughout training. A-GRAE damps positive advantages while few responses succeed,
and moves weight from easy to hard prompts as more do. `sign_dominant` and `difficulty_focused` are its control
experiments.

Rewards are 0 or 1. If they are not, `correct` [B], 0 or 1, gives the success rates; without it, success rates are mean
rewards clipped to [0, 1] (neither is in the paper). Groups of one, constant groups and unscored rows give 0. `base`:
"grpo" (DAPO has the same advantage) or "dr_grpo", without the division by the std. The paper's theorem uses ddof 0, its
code ddof 1.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.reductions import group_mean, masked_mean

BASES = {"grpo": "group", "dr_grpo": "none"}
LEVELS = ("both", "sample", "group")


def _base(function, rewards, group_ids, mask, base, ddof, eps):
  known_option(function, "base", base, BASES)
  return grpo(rewards, group_ids, mask, scale=BASES[base], ddof=ddof, eps=eps, singleton="zero")


def _rescaled(advantages, success, weights):
  """A times the weights, or A itself if all or none of the group succeed."""
  return jnp.where((0 < success) & (success < 1), advantages * weights, advantages)


def _hard_and_easy(success):
  """1 / sqrt(p) and 1 / sqrt(1 - p); arbitrary values if p is 0 or 1."""
  success = jnp.where((0 < success) & (success < 1), success, 0.5)
  return jax.lax.rsqrt(success), jax.lax.rsqrt(1 - success)


def _success(rewards, group_ids, mask):
  return jnp.clip(group_mean(rewards, group_ids, mask), 0, 1)


def batch_success_rate(rewards: Num[Array, " B"], mask: Bool[Array, " B"]) -> Float[Array, ""]:
  """omega = mean reward of the batch, within [0, 1]; 0 without a scored row.

  A-GRAE, arXiv 2602.05548, equation 11.

  >>> print(batch_success_rate(jnp.array([1.0, 0.0, 0.0]), jnp.array([True, True, False])))
  0.5
  """
  same_shape("batch_success_rate", "B", rewards=rewards, mask=mask)
  return jax.lax.stop_gradient(jnp.clip(masked_mean(rewards, mask).value, 0, 1))


def a_grae(
  rewards: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  correct: Num[Array, " B"] | None = None,
  alpha: float = 1.0,
  base: str = "grpo",
  levels: str = "both",
  ddof: int = 1,
  eps: float = 1e-6,
) -> Float[Array, " B"]:
  """A_i (omega / sqrt(p_g) + (1 - omega) / sqrt(1 - p_g)) / 2, times min(1, omega / alpha) where A_i > 0.

  A-GRAE, arXiv 2602.05548, equations 12 and 13; A is the advantage of `base`, p_g the success rate of the group, omega
  that of the batch (`batch_success_rate`). alpha is 1 for MATH and 0.5 for the paper's other data. `levels` are its
  ablations: "sample" leaves out equation 13, "group" equation 12. If all or none of a group succeed, A is not rescaled;
  it is then 0, unless `correct` differs from the rewards.

  >>> args = jnp.array([1.0, 0.0, 0.0, 0.0]), jnp.array([7, 7, 7, 7]), jnp.ones(4, bool)
  >>> print(a_grae(*args, alpha=0.5).round(2))
  [ 0.51 -0.34 -0.34 -0.34]
  """
  known_option("a_grae", "levels", levels, LEVELS)
  correct = rewards if correct is None else correct
  omega = batch_success_rate(correct, mask)
  advantages = _base("a_grae", rewards, group_ids, mask, base, ddof, eps)
  if levels != "group":
    success = _success(correct, group_ids, mask)
    hard, easy = _hard_and_easy(success)
    advantages = _rescaled(advantages, success, (omega * hard + (1 - omega) * easy) / 2)
  if levels != "sample":
    advantages = advantages * jnp.where(advantages > 0, jnp.minimum(1, omega / alpha), 1)
  return jax.lax.stop_gradient(advantages)


def sign_dominant(
  rewards: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  sign: str = "positive",
  beta: float = 10.0,
  base: str = "grpo",
  ddof: int = 1,
  eps: float = 1e-6,
) -> Float[Array, " B"]:
  """beta A_i ("positive") or A_i / beta ("negative") where A_i > 0, else A_i.

  Control experiments of arXiv 2602.05548: a negative sum of advantages raises the probability of responses that were
  not sampled; a positive sum lowers it.

  >>> args = jnp.array([1.0, 0.0]), jnp.array([7, 7]), jnp.ones(2, bool)
  >>> print(sign_dominant(*args, base="dr_grpo"), sign_dominant(*args, sign="negative", base="dr_grpo"))
  [ 5.  -0.5] [ 0.05 -0.5 ]
  """
  known_option("sign_dominant", "sign", sign, ("positive", "negative"))
  advantages = _base("sign_dominant", rewards, group_ids, mask, base, ddof, eps)
  return advantages * jnp.where(advantages > 0, beta if sign == "positive" else 1 / beta, 1)


def difficulty_focused(
  rewards: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  correct: Num[Array, " B"] | None = None,
  focus: str = "hard",
  gamma: float = 0.5,
  base: str = "grpo",
  ddof: int = 1,
  eps: float = 1e-6,
) -> Float[Array, " B"]:
  """gamma A_i / sqrt(p_g) ("hard") or gamma A_i / sqrt(1 - p_g) ("easy"), p_g the success rate of the group.

  Control experiments of arXiv 2602.05548. With ddof 0 and gamma 1/2, the absolute advantages of a group add up to
  G sqrt(1 - p) ("hard") and G sqrt(p) ("easy"). If p_g is 0 or 1, A is not rescaled, as in `a_grae`.

  >>> args = jnp.array([1.0, 0.0, 0.0, 0.0]), jnp.array([7, 7, 7, 7]), jnp.ones(4, bool)
  >>> print(difficulty_focused(*args, base="dr_grpo"))
  [ 0.75 -0.25 -0.25 -0.25]
  """
  known_option("difficulty_focused", "focus", focus, ("hard", "easy"))
  advantages = _base("difficulty_focused", rewards, group_ids, mask, base, ddof, eps)
  success = _success(rewards if correct is None else correct, group_ids, mask)
  hard, easy = _hard_and_easy(success)
  return jax.lax.stop_gradient(_rescaled(advantages, success, gamma * (hard if focus == "hard" else easy)))
