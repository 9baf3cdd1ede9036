"""T-PPO: advantages of responses that are not finished yet, and which tokens train the policy and the critic.

A slot decodes a window of tokens per step; `curricula.batching` says which. `mask` marks the response tokens
that exist so far, those of earlier windows included. The losses are `policy_gradient` with clip_high 0.28 on the policy
mask, and `value_loss` with clip None on the value mask, both with aggregation "token_mean".
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.advantages.returns import GAE, gae
from rl_jax.kernels.reductions import zero_masked
from rl_jax.kernels.scans import discounted_sums, running_sums
from rl_jax.kernels.segments import last_token


class TruncatedEstimate(NamedTuple):
  """Training signal of a step; no gradient."""

  advantages: Float[Array, "B T"]
  """0 outside the policy mask."""
  returns: Float[Array, "B T"]
  """The critic's targets, 0 outside the value mask."""
  policy_mask: Bool[Array, "B T"]
  value_mask: Bool[Array, "B T"]


def extended_gae(
  token_rewards: Float[Array, "B T"],
  values: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  finished: Bool[Array, " B"],
  *,
  discount: float = 1.0,
  lam: float = 0.95,
  at_cut: str = "last",
) -> GAE:
  """GAE with V(s_l) = V(s_{l-1}) where an unfinished response is cut after l tokens, and V(s_l) = 0 at its real end.

  T-PPO, arXiv 2506.15050, equation 6; discount and lam are not in the paper. `values` are of the state before each
  token. With discount 1 and no reward the last token of a cut response gets 0; a row without tokens gives 0.

  Args:
    at_cut: "last": V(s_l) = V(s_{l-1}), the paper's; "next": the critic's own V(s_l), the entry of `values` after the
      last token of the mask.

  >>> values, finished = jnp.array([[0.25, 0.5]] * 2), jnp.array([False, True])
  >>> print(extended_gae(jnp.zeros((2, 2)), values, jnp.ones((2, 2)), finished, lam=1.0).advantages)
  [[ 0.25  0.  ]
   [-0.25 -0.5 ]]
  """
  same_shape("extended_gae", "B T", token_rewards=token_rewards, values=values, mask=mask)
  known_option("extended_gae", "at_cut", at_cut, ("last", "next"))
  last = last_token(mask)
  of_state = values if at_cut == "last" else jnp.pad(values[:, 1:], ((0, 0), (0, 1)))
  bootstrap = jnp.where(finished, 0, zero_masked(of_state, last).sum(axis=1))
  return gae(token_rewards, values, mask, discount=discount, lam=lam, bootstrap=bootstrap)


def tppo(
  token_rewards: Float[Array, "B T"],
  values: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  window_starts: Int[Array, " B"],
  finished: Bool[Array, " B"],
  *,
  discount: float = 1.0,
  lam: float = 0.95,
  tokens: str = "window",
  at_cut: str = "last",
) -> TruncatedEstimate:
  """Extended GAE on the tokens of the current window; Monte Carlo returns on all tokens of finished responses.

  T-PPO, arXiv 2506.15050. `window_starts` is the number of response tokens that earlier steps trained. `tokens`: those
  of the "window", or all of the "response" so far; the paper's text on this was not seen. `at_cut` is that of
  `extended_gae`. The advantages are not whitened, which `whiten` on the policy mask would do.
  Where nothing has finished the value mask is empty and the critic's loss 0.

  >>> rewards, values, finished = jnp.array([[0.0, 1.0]] * 2), jnp.zeros((2, 2)), jnp.array([False, True])
  >>> estimate = tppo(rewards, values, jnp.ones((2, 2)), jnp.array([1, 1]), finished)
  >>> print(estimate.advantages, estimate.returns)
  [[0. 1.]
   [0. 1.]] [[0. 0.]
   [1. 1.]]
  """
  known_option("tppo", "tokens", tokens, ("window", "response"))
  estimate = extended_gae(token_rewards, values, mask, finished, discount=discount, lam=lam, at_cut=at_cut)
  policy_mask = mask != 0
  value_mask = policy_mask & finished[:, None]
  if tokens == "window":
    policy_mask &= running_sums(policy_mask) > window_starts[:, None]
  return TruncatedEstimate(
    zero_masked(estimate.advantages, policy_mask),
    discounted_sums(token_rewards, value_mask, discount=discount),
    policy_mask,
    value_mask,
  )
