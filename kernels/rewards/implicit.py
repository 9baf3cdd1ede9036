"""Implicit process rewards: a language model trained on outcomes, whose log-ratio to a reference rewards each token."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels import segments
from rl_jax.kernels._checks import known_option
from rl_jax.kernels.losses.divergence import kl
from rl_jax.kernels.reductions import per_token, zero_masked
from rl_jax.kernels.scans import discounted_sums


class ImplicitRewards(NamedTuple):
  """Rewards of tokens for the policy, without gradient, and of responses for the reward model's loss, with it."""

  tokens: Float[Array, "B T"]
  sequences: Float[Array, " B"]
  """The sum over all tokens, not the mean; 0 for an empty response."""


def implicit_rewards(
  prm_logprobs: Float[Array, "B T"],
  ref_logprobs: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  beta: float = 0.05,
  granularity: str = "token",
  last_token: str = "keep",
) -> ImplicitRewards:
  """r_t = beta (log pi_phi(y_t) - log pi_ref(y_t)) and r_phi(y) = sum_t r_t.

  PRIME, arXiv 2502.01456, equation 3. The reference is the frozen initial policy, or the policy itself (pass its
  `old_logprobs`). `granularity` "whole" puts the sum on the last token. `last_token` "zero" takes the reward from the
  last token of "token" granularity, as verl does; the sum keeps it. The gradient of `sequences` goes through
  `prm_logprobs` only. Equal models give 0.

  >>> prm, ref = jnp.array([[-1.0, -0.5, 0.0]]), jnp.array([[-1.5, -0.75, 0.0]])
  >>> rewards = implicit_rewards(prm, ref, jnp.array([[1, 1, 0]]), beta=1.0)
  >>> print(rewards.tokens, rewards.sequences)
  [[0.5  0.25 0.  ]] [0.75]
  """
  known_option("implicit_rewards", "granularity", granularity, ("token", "whole"))
  known_option("implicit_rewards", "last_token", last_token, ("keep", "zero"))
  rewards = beta * kl(prm_logprobs, ref_logprobs, mask, value="k1")
  sequences = rewards.sum(axis=1)
  last = segments.last_token(mask)
  if granularity == "whole":
    rewards = per_token(sequences, last)
  elif last_token == "zero":
    rewards = zero_masked(rewards, ~last)
  return ImplicitRewards(jax.lax.stop_gradient(rewards), sequences)


def scale_to_unit_return(
  token_rewards: Float[Array, "B T"], mask: Num[Array, "B T"], *, eps: float = 1e-6
) -> Float[Array, "B T"]:
  """r / (Z + eps), Z = max over the batch of |sum_{s >= t} r_s|: the largest return becomes 1.

  PRIME's released code (prime_norm=batch_norm, on by default), not in the paper, arXiv 2502.01456. No mean is taken
  off, and beta drops out. Z is that of the whole batch; the code's is that of one device. Rewards of 0 stay 0.

  >>> print(scale_to_unit_return(jnp.array([[1.0, 3.0], [-2.0, 1.0]]), jnp.ones((2, 2)), eps=0.0))
  [[ 0.25  0.75]
   [-0.5   0.25]]
  """
  largest = jnp.abs(discounted_sums(token_rewards, mask)).max(initial=0)
  return jax.lax.stop_gradient(zero_masked(token_rewards, mask) / jnp.where(largest > 0, largest + eps, 1))
