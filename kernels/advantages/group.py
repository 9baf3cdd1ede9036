"""Advantages from rewards of whole responses, compared within their group (the responses to one prompt).

Arrays are [B]: one reward per response, `group_ids` arbitrary integers, `mask` True on scored rows. Unscored rows get
0 and are left out of every statistic. Advantages carry no gradient. `reductions.per_token` puts them on tokens.
`singleton` names the advantage of a group of one: "raw" (baseline 0: the reward itself, as in verl) or "zero" (TRL).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.reductions import (
  group_deviations,
  group_is_constant,
  group_mean,
  group_size,
  group_std,
  per_token,
  whiten,
  zero_masked,
)
from rl_jax.kernels.scans import discounted_sums

SINGLETONS = ("raw", "zero")
COUNTED = ("varying", "nonzero", "all")


def _centred(rewards, group_ids, mask, singleton, weights=None):
  """r_i - mean_g, with the named convention for groups of one, and 0 in unscored rows."""
  known_option("advantages", "singleton", singleton, SINGLETONS)
  same_shape("advantages", "B", rewards=rewards, mask=mask)
  centred = group_deviations(rewards, group_ids, mask, weights=weights)
  if singleton == "zero":
    return centred
  alone = group_size(group_ids, mask) == 1
  return jnp.where(alone, zero_masked(rewards, mask), centred)


def grpo(
  rewards: Float[Array, " B"],
  group_ids: Int[Array, " B"] | None,
  mask: Bool[Array, " B"],
  *,
  scale: str = "group",
  ddof: int = 1,
  eps: float = 1e-6,
  singleton: str = "raw",
) -> Float[Array, " B"]:
  """Group relative advantage: A_i = (r_i - mean_g) / (std_g + eps).

  GRPO, arXiv 2402.03300, section 4.1.2. `scale`: std of the "group", of the whole "batch", or "none". ddof 1 as in
  the libraries; the paper writes ddof 0. verl: eps 1e-6, singleton "raw" (std 1: r / (1 + eps)). TRL: eps 1e-4,
  singleton "zero". Constant groups get exactly 0. group_ids None: the batch is one group.

  >>> print(grpo(jnp.array([1.0, 0.0, 0.5]), jnp.array([7, 7, 9]), jnp.array([True] * 3)).round(3))
  [ 0.707 -0.707  0.5  ]
  """
  known_option("grpo", "scale", scale, ("group", "batch", "none"))
  centred = _centred(rewards, group_ids, mask, singleton)
  if scale == "none":
    return jax.lax.stop_gradient(centred)
  std = group_std(rewards, group_ids if scale == "group" else None, mask, ddof=ddof)
  if scale == "group":
    std = jnp.where(group_size(group_ids, mask) == 1, 1, std)
  return jax.lax.stop_gradient(centred / jnp.where(std > 0, std + eps, 1))


def dr_grpo(
  rewards: Float[Array, " B"], group_ids: Int[Array, " B"], mask: Bool[Array, " B"], *, singleton: str = "raw"
) -> Float[Array, " B"]:
  """A_i = r_i - mean_g: no division by the std. Dr.GRPO, arXiv 2503.20783, section 3.2.

  Its loss divides by a constant: `aggregate(mode="sequence_mean_constant")` (TRL) or "constant" (verl).
  Constant groups get exactly 0.

  >>> print(dr_grpo(jnp.array([1.0, 0.0]), jnp.array([7, 7]), jnp.array([True, True])))
  [ 0.5 -0.5]
  """
  return grpo(rewards, group_ids, mask, scale="none", singleton=singleton)


def rloo(
  rewards: Float[Array, " B"], group_ids: Int[Array, " B"], mask: Bool[Array, " B"], *, singleton: str = "raw"
) -> Float[Array, " B"]:
  """Leave one out: A_i = r_i - mean_{j != i in g} r_j = n / (n - 1) (r_i - mean_g).

  RLOO, arXiv 2402.14740, equation 8. Constant groups get exactly 0.

  >>> print(rloo(jnp.array([1.0, 0.0]), jnp.array([7, 7]), jnp.array([True, True])))
  [ 1. -1.]
  """
  size = group_size(group_ids, mask)
  return jax.lax.stop_gradient(_centred(rewards, group_ids, mask, singleton) * size / jnp.maximum(size - 1, 1))


def maxrl(
  rewards: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  eps: float = 1e-6,
  singleton: str = "zero",
) -> Float[Array, " B"]:
  """A_i = (r_i - mean_g) / (mean_g + eps): prompts that are seldom solved count as log p asks, about 1 / p.

  MaxRL, arXiv 2602.02710: for rewards 0 and 1 and n rows the expected gradient is that of log p, expanded at p = 1 up
  to order n - 1 (n without the baseline). eps as in the authors' code. Groups whose mean reward is not above 0, and
  constant groups, get exactly 0.

  >>> rewards, mask = jnp.array([1.0, 0.0, 0.0, 0.0]), jnp.array([True] * 4)
  >>> print(maxrl(rewards, jnp.array([7, 7, 7, 7]), mask, eps=0.0))
  [ 3. -1. -1. -1.]
  """
  mean = group_mean(rewards, group_ids, mask)
  centred = _centred(rewards, group_ids, mask, singleton)
  scale = jnp.where(group_size(group_ids, mask) == 1, 1, jnp.where(mean > 0, mean + eps, jnp.inf))
  return jax.lax.stop_gradient(centred / scale)


def gpg(
  rewards: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  counted: str = "varying",
  scale: str = "none",
  ddof: int = 1,
  eps: float = 1e-6,
  singleton: str = "raw",
) -> Float[Array, " B"]:
  """A_i = alpha (r_i - mean_g) / F, alpha = N / N': the mean over N rows of which only N' have a gradient is mended.

  GPG, arXiv 2504.02546, section 3. `counted` says which of the N scored rows N' counts: "varying", those of groups
  whose rewards differ (the authors' code); "nonzero", those with a reward other than 0 (verl); "all", alpha = 1. F is
  1, or with `scale` "group" the group's std + eps. N' is at least 1. Constant groups get exactly 0. Its loss is
  REINFORCE: `losses.cispo` with both bounds at 1.

  >>> rewards, mask = jnp.array([1.0, 0.0, 1.0, 1.0]), jnp.array([True] * 4)
  >>> print(gpg(rewards, jnp.array([7, 7, 9, 9]), mask))
  [ 1. -1.  0.  0.]
  """
  known_option("gpg", "counted", counted, COUNTED)
  known_option("gpg", "scale", scale, ("none", "group"))
  advantages = grpo(rewards, group_ids, mask, scale=scale, ddof=ddof, eps=eps, singleton=singleton)
  useful = {"varying": ~group_is_constant(rewards, group_ids, mask), "nonzero": rewards != 0, "all": mask != 0}[counted]
  rows = (mask != 0).sum().astype(advantages.dtype)
  return advantages * rows / jnp.maximum(((mask != 0) & useful).sum(), 1)


def opo(
  rewards: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  lengths: Num[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  singleton: str = "raw",
) -> Float[Array, " B"]:
  """A_i = r_i - b, with the length-weighted baseline b = sum_g |o_j| r_j / sum_g |o_j|.

  OPO, arXiv 2505.23585, section 3. For exact on-policy training, one update per batch. Constant groups get exactly 0;
  b is 0 where every response of a group is empty.

  >>> args = jnp.array([1.0, 0.0]), jnp.array([7, 7]), jnp.array([3, 1]), jnp.array([True, True])
  >>> print(opo(*args))
  [ 0.25 -0.75]
  """
  same_shape("opo", "B", rewards=rewards, lengths=lengths)
  return jax.lax.stop_gradient(_centred(rewards, group_ids, mask, singleton, weights=lengths))


def gdpo(
  rewards: Float[Array, "B K"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  weights: Float[Array, " K"] | None = None,
  normalization: str = "batch",
  eps: float = 1e-4,
  ddof: int = 1,
) -> Float[Array, " B"]:
  """K rewards, each normalised in its group before they are added: P = sum_k w_k A_k; A = (P - mean) / (std + eps).

  GDPO, arXiv 2601.05242, section 3. A_k is GRPO's advantage of reward k; mean and std of P are over the rows of the
  batch. `normalization` "none" returns P; the authors' verl fork whitens P over tokens:
  `whiten(per_token(gdpo(..., normalization="none", eps=1e-6), token_mask), token_mask)`. Groups of one, constant
  groups, and a constant P give 0.

  >>> rewards = jnp.array([[1.0, 0.0], [0.0, 0.0]])
  >>> print(gdpo(rewards, jnp.array([7, 7]), jnp.array([True, True])).round(3))
  [ 0.707 -0.707]
  """
  known_option("gdpo", "normalization", normalization, ("batch", "none"))
  if rewards.ndim != 2:
    raise ValueError(f"gdpo: expected rewards [B K], got {rewards.shape}")
  normalized = jax.vmap(
    lambda r: grpo(r, group_ids, mask, ddof=ddof, eps=eps, singleton="zero"), in_axes=1, out_axes=1
  )(rewards)
  weights = jnp.ones(rewards.shape[1]) if weights is None else weights
  pooled = (normalized * weights.astype(normalized.dtype)).sum(axis=1)
  if normalization == "none":
    return pooled
  return grpo(pooled, None, mask, ddof=ddof, eps=eps, singleton="zero")


def reinforce_pp_baseline(
  rewards: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  token_mask: Num[Array, "B T"],
  *,
  whitening: str = "verl",
  singleton: str = "raw",
) -> Float[Array, "B T"]:
  """c_i = r_i - mean_g on the tokens of row i, then whitened over all tokens of the batch.

  REINFORCE++-baseline, arXiv 2501.03262, section 3. A constant group is not 0 in general: the batch mean shifts it.
  A batch that is constant as a whole gives 0. `whitening` is the form of `reductions.whiten`.

  >>> args = jnp.array([1.0, 0.0]), jnp.array([7, 7]), jnp.array([True, True])
  >>> print(reinforce_pp_baseline(*args, jnp.array([[1, 0], [1, 0]])).round(3))
  [[ 0.707  0.   ]
   [-0.707  0.   ]]
  """
  tokens = (token_mask != 0) & mask[:, None]
  centred = _centred(rewards, group_ids, mask, singleton)
  return jax.lax.stop_gradient(whiten(per_token(centred, tokens), tokens, form=whitening))


def remax(
  token_rewards: Float[Array, "B T"], baselines: Float[Array, " B"], mask: Num[Array, "B T"]
) -> Float[Array, "B T"]:
  """A_t = sum_{s >= t} r_s - b, b the reward of the greedy response to the same prompt.

  ReMax, arXiv 2310.10505, algorithm 1. No normalisation; 0 in masked slots, whose rewards are ignored.

  >>> print(remax(jnp.array([[0.0, 1.0, 0.0]]), jnp.array([0.25]), jnp.array([[1, 1, 0]])))
  [[0.75 0.75 0.  ]]
  """
  return jax.lax.stop_gradient(discounted_sums(token_rewards, mask) - per_token(baselines, mask))
