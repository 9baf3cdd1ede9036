"""One weight per prompt group, from what its rollouts show, on the advantages of all its responses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.advantages.group import dr_grpo, grpo
from rl_jax.kernels.reductions import group_mean, group_size, widen, zero_masked

COMBINATIONS = {
  "and": lambda length, difficulty: length & difficulty,
  "or": lambda length, difficulty: length | difficulty,
  "length": lambda length, difficulty: length,
  "difficulty": lambda length, difficulty: difficulty,
}


def _correct(rewards, mask, threshold):
  return (mask != 0) & (widen(rewards) > threshold)


def _length_pays(correct, lengths, group_ids, mask, length_cap):
  """Return whether the group's longest correct response is longer than the mean of its wrong ones, without cut ones.

  True without a wrong response, False without a correct one; neither is in the paper.
  """
  lengths = widen(lengths)
  failed = (mask != 0) & ~correct & (True if length_cap is None else lengths < length_cap)
  # The longest correct response beats the mean exactly if some correct response does.
  longer = (group_size(group_ids, failed) == 0) | (lengths > group_mean(lengths, group_ids, failed))
  return group_size(group_ids, correct & longer) > 0


def adora_weights(
  rewards: Float[Array, " B"],
  lengths: Num[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  correct_threshold: float = 0.5,
  length_cap: float | None = None,
  success_threshold: float = 0.5,
  combine: str = "and",
  amplified: float = 2.0,
) -> Float[Array, " B"]:
  """w_g = `amplified` where max_correct |o| > mean_wrong |o| (length pays off) and share correct <= tau, else 1.

  ADORA, arXiv 2602.10019, for language models: groups that show longer reasoning and are still to be learned. Correct
  is r > `correct_threshold`, tau is `success_threshold`. Wrong responses of `length_cap` tokens or more were cut off:
  they count in the share, not in the mean length. That both must hold is not in the paper: `combine` "and", "or",
  "length" or "difficulty". Length pays off without a wrong response, and not without a correct one (not in the paper).
  Unscored rows give 0.

  >>> rewards, lengths = jnp.array([1.0, 0.0, 1.0, 0.0]), jnp.array([6, 4, 2, 7])
  >>> print(adora_weights(rewards, lengths, jnp.array([7, 7, 9, 9]), jnp.ones(4, bool)))
  [2. 2. 1. 1.]
  """
  known_option("adora_weights", "combine", combine, COMBINATIONS)
  same_shape("adora_weights", "B", rewards=rewards, lengths=lengths, mask=mask)
  correct = _correct(rewards, mask, correct_threshold)
  length_pays = _length_pays(correct, lengths, group_ids, mask, length_cap)
  difficult = group_mean(correct, group_ids, mask) <= success_threshold
  weights = jnp.where(COMBINATIONS[combine](length_pays, difficult), amplified, 1.0)
  return jax.lax.stop_gradient(zero_masked(weights, mask))


def adora_damping(
  rewards: Float[Array, " B"],
  lengths: Num[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  correct_threshold: float = 0.5,
  length_cap: float | None = None,
  attenuated: float = 0.1,
) -> Float[Array, " B"]:
  """w_g = 1 where max_correct |o| > mean_wrong |o| (length pays off), else `attenuated`.

  ADORA, arXiv 2602.10019, for vision-language models; the authors' code for language models (verl) has it too. Options
  and empty sides as in `adora_weights`. Unscored rows give 0.

  >>> rewards, lengths = jnp.array([1.0, 0.0, 1.0, 0.0]), jnp.array([6, 4, 2, 7])
  >>> print(adora_damping(rewards, lengths, jnp.array([7, 7, 9, 9]), jnp.ones(4, bool)))
  [1.  1.  0.1 0.1]
  """
  same_shape("adora_damping", "B", rewards=rewards, lengths=lengths, mask=mask)
  correct = _correct(rewards, mask, correct_threshold)
  weights = jnp.where(_length_pays(correct, lengths, group_ids, mask, length_cap), 1.0, attenuated)
  return jax.lax.stop_gradient(zero_masked(weights, mask))


def adora(
  rewards: Float[Array, " B"],
  group_weights: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  ddof: int = 1,
  eps: float = 1e-6,
  singleton: str = "zero",
) -> Float[Array, " B"]:
  """A'_i = w_g (r_i - mean_g) / (std_g + eps): weighted after the division, which would cancel the weight.

  ADORA, arXiv 2602.10019, with the weights of `adora_weights` or `adora_damping`; its code also multiplies `rloo` and
  `dr_grpo` by them. eps 1e-9 is its OpenRLHF code. `singleton` "raw" is its verl code: a group of one keeps w r, not
  divided. Constant groups give 0.

  >>> rewards, ids, mask = jnp.array([1.0, 0.0, 0.0]), jnp.array([7, 7, 9]), jnp.ones(3, bool)
  >>> print(adora(rewards, jnp.array([2.0, 2.0, 1.0]), ids, mask, ddof=0).round(3))
  [ 2. -2.  0.]
  """
  same_shape("adora", "B", rewards=rewards, group_weights=group_weights)
  alone = group_size(group_ids, mask) == 1
  raw = dr_grpo(rewards, group_ids, mask, singleton=singleton)
  advantages = jnp.where(alone, raw, grpo(rewards, group_ids, mask, ddof=ddof, eps=eps, singleton="zero"))
  return jax.lax.stop_gradient(zero_masked(group_weights, mask) * advantages)
