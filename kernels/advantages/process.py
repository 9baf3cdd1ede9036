"""Advantages that join a reward for each token with the outcome of the response. They carry no gradient.

PRIME, arXiv 2502.01456, equations 4 to 8. `token_rewards` come from a process reward model, such as
`rewards.implicit`; their returns run over later tokens. `mask` [B] is True on scored rows and `token_mask`
[B, T] on their tokens, where a function compares rows; rows without tokens are left out of every statistic.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.advantages.group import grpo, rloo
from rl_jax.kernels.advantages.returns import gae
from rl_jax.kernels.reductions import group_mean, group_std, masked_mean, per_token, whiten, zero_masked
from rl_jax.kernels.scans import discounted_sums, running_sums
from rl_jax.kernels.segments import last_token


class ProcessAdvantages(NamedTuple):
  """Advantages, whitened, and the returns they were before; 0 in masked slots."""

  advantages: Float[Array, "B T"]
  returns: Float[Array, "B T"]


def _on_last_token(x, mask):
  return per_token(x, last_token(mask))


def _scored(name, token_rewards, outcomes, mask, token_mask):
  """The tokens of scored rows, and the rows that have any."""
  same_shape(name, "B", outcomes=outcomes, mask=mask)
  same_shape(name, "B T", token_rewards=token_rewards, token_mask=token_mask)
  tokens = (token_mask != 0) & (mask != 0)[:, None]
  return tokens, tokens.any(axis=1)


def prime(
  token_rewards: Float[Array, "B T"],
  outcomes: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  token_mask: Num[Array, "B T"],
  *,
  discount: float = 1.0,
  outcome_discount: float = 1.0,
  singleton: str = "raw",
) -> ProcessAdvantages:
  """R_t = sum_{s >= t} discount^{s-t} c_s + outcome_discount^{last-t} o, whitened over all tokens of the batch.

  PRIME, arXiv 2502.01456, equations 4 and 5. Both parts have leave-one-out baselines over the K rows of a group: o is
  `rloo` of the outcomes, and with m_i the mean token reward of row i, c_t = r_t - mean_{j != i} m_j. (The released code
  has K / (K - 1) (r_t - mean_j m_j), which is c_t plus (r_t - m_i) / (K - 1).) `token_rewards` are scaled before
  (`scale_to_unit_return`). A group whose outcomes are equal keeps its process part. A group of one has baseline 0
  ("raw") or its own value ("zero"). A batch of one token gives 0.

  >>> rewards, ones = jnp.array([[0.5, 1.0], [-1.0, 0.5]]), jnp.ones((2, 2))
  >>> result = prime(rewards, jnp.array([1.0, 0.0]), jnp.array([7, 7]), jnp.array([True, True]), ones)
  >>> print(result.returns)
  [[ 3.    2.25]
   [-3.   -1.25]]
  """
  tokens, rows = _scored("prime", token_rewards, outcomes, mask, token_mask)
  means = masked_mean(token_rewards, tokens, axis=1).value
  deviations = zero_masked(token_rewards, tokens) - per_token(means, tokens)
  # rloo(m) is m_i - mean_{j != i} m_j, which the deviations from m_i complete.
  centred = deviations + per_token(rloo(means, group_ids, rows, singleton=singleton), tokens)
  outcome = rloo(outcomes, group_ids, rows, singleton=singleton)
  returns = discounted_sums(centred, tokens, discount=discount)
  returns = returns + discounted_sums(_on_last_token(outcome, tokens), tokens, discount=outcome_discount)
  return jax.lax.stop_gradient(ProcessAdvantages(whiten(returns, tokens), returns))


def process_reinforce(
  token_rewards: Float[Array, "B T"], outcomes: Float[Array, " B"], mask: Num[Array, "B T"], *, discount: float = 1.0
) -> Float[Array, "B T"]:
  """A_t = y + sum_{s >= t} discount^{s-t} r_s: no baseline.

  REINFORCE with process rewards: PRIME, arXiv 2502.01456, equation 8.

  >>> print(process_reinforce(jnp.array([[0.5, 0.25]]), jnp.array([1.0]), jnp.ones((1, 2))))
  [[1.75 1.25]]
  """
  return jax.lax.stop_gradient(per_token(outcomes, mask) + discounted_sums(token_rewards, mask, discount=discount))


def process_grpo(
  token_rewards: Float[Array, "B T"],
  outcomes: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  token_mask: Num[Array, "B T"],
  *,
  discount: float = 1.0,
  ddof: int = 1,
  eps: float = 1e-6,
  singleton: str = "raw",
) -> Float[Array, "B T"]:
  """A_t = (y_i - mean y) / std y + sum_{s >= t} discount^{s-t} (r_s - mean_j m_j) / std_j m_j.

  GRPO with process rewards: PRIME, arXiv 2502.01456, equation 7, m_j the mean token reward of row j; ddof and eps are
  not in the paper. The std of the m_j is usually small, and its part can dwarf the outcome's: whiten or clip. Where the
  m_j do not vary, it counts as 1.
  `singleton` is that of `grpo`, for the outcome part; the process part of a group of one is r_s - m.

  >>> rewards, ones = jnp.array([[0.5, 0.5], [-1.0, 0.0]]), jnp.ones((2, 2))
  >>> args = rewards, jnp.array([1.0, 0.0]), jnp.array([7, 7]), jnp.array([True, True]), ones
  >>> print(process_grpo(*args, ddof=0, eps=0.0))
  [[ 3.  2.]
   [-3. -1.]]
  """
  tokens, rows = _scored("process_grpo", token_rewards, outcomes, mask, token_mask)
  means = masked_mean(token_rewards, tokens, axis=1).value
  std = group_std(means, group_ids, rows, ddof=ddof)
  centred = zero_masked(token_rewards, tokens) - per_token(group_mean(means, group_ids, rows), tokens)
  process = discounted_sums(centred / jnp.where(std > 0, std + eps, 1)[:, None], tokens, discount=discount)
  outcome = grpo(outcomes, group_ids, rows, ddof=ddof, eps=eps, singleton=singleton)
  return jax.lax.stop_gradient(per_token(outcome, tokens) + process)


def process_ppo(
  token_rewards: Float[Array, "B T"],
  outcomes: Float[Array, " B"],
  values: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  discount: float = 1.0,
  lam: float = 1.0,
) -> Float[Array, "B T"]:
  """A_t = GAE of the outcome with a critic + sum_{s >= t} discount^{s-t} r_s.

  PPO with process rewards: PRIME, arXiv 2502.01456. `values` are the critic's. The paper gives no lam.

  >>> print(process_ppo(jnp.array([[0.5, 0.25]]), jnp.array([1.0]), jnp.array([[0.5, 0.75]]), jnp.ones((1, 2))))
  [[1.25 0.5 ]]
  """
  critic = gae(_on_last_token(outcomes, mask), values, mask, discount=discount, lam=lam).advantages
  return critic + jax.lax.stop_gradient(discounted_sums(token_rewards, mask, discount=discount))


def process_value(
  token_rewards: Float[Array, "B T"], outcomes: Float[Array, " B"], mask: Num[Array, "B T"], *, lam: float = 1.0
) -> Float[Array, "B T"]:
  """A_t = y - v_t, v_t = sum_{s < t} r_s: the process reward model as a critic. In general GAE with these values.

  An ablation of PRIME, arXiv 2502.01456, that does worse. lam below 1 is verl's `lambda` with `prime_use_gt`;
  without the latter it is `discounted_sums(token_rewards, mask, discount=lam)`.

  >>> print(process_value(jnp.array([[0.5, 0.25]]), jnp.array([1.0]), jnp.ones((1, 2))))
  [[1.  0.5]]
  """
  rewards = zero_masked(token_rewards, mask)
  values = running_sums(rewards) - rewards
  return gae(_on_last_token(outcomes, mask), values, mask, lam=lam).advantages
