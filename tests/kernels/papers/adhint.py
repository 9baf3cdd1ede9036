"""ADHint (arXiv 2512.13095): hint ratio and length, advantages of both kinds of responses, token weights and loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rl_jax.kernels.advantages.hints import adhint, hint_token_weights, kind_weights
from rl_jax.kernels.curricula.hints import difficulty, hint_lengths, hint_ratio
from rl_jax.kernels.losses.policy import policy_gradient
from rl_jax.kernels.reductions import aggregate, per_token
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  scalars = {name: value for name, value in inputs.items() if not isinstance(value, jax.Array)}
  arrays = {name: value for name, value in inputs.items() if name not in scalars}
  return quick_jit(lambda arrays: outputs(**arrays, **scalars))(arrays)


def outputs(
  rewards_naive,
  rewards_hint,
  entropies,
  hint_mask,
  cont_mask,
  logprobs,
  old_logprobs,
  w_min,
  w_max,
  noise,
  traj_len,
  base="joint",
  beta=1.0,
):
  dtype, plain = entropies.dtype, rewards_naive.shape[0]
  rewards = jnp.concatenate([rewards_naive, rewards_hint]).astype(dtype)
  hinted = jnp.arange(rewards.shape[0]) >= plain
  ids, rows = jnp.full(rewards.shape, 7), jnp.ones(rewards.shape, bool)
  prior = difficulty(rewards, ids, ~hinted)
  ratio = hint_ratio(prior, noise, low=w_min, high=w_max)
  rho = kind_weights(rewards, hinted, ids, rows, beta=beta)
  advantages = adhint(rewards, hinted, ids, rows, base=base, beta=beta)
  mask = (hint_mask != 0) | (cont_mask != 0)
  weights = hint_token_weights(entropies, advantages[plain:], hint_mask, mask)
  losses = policy_gradient(logprobs, old_logprobs, per_token(advantages[plain:], mask), mask).losses
  return {
    "diff_naive": prior[0],
    "hint_ratio": ratio[0],
    "hint_len": hint_lengths(ratio, jnp.full(rewards.shape, traj_len))[0],
    "rho_naive": rho.plain[0],
    "rho_hint": rho.hinted[0],
    "adv_naive": advantages[:plain],
    "adv_hint": advantages[plain:],
    "hint_token_weights": weights,
    "hint_rollout_loss": aggregate(weights * losses, mask, mode="token_mean").value,
  }
