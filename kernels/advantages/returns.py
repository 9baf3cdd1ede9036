"""Advantages from token rewards: generalised advantage estimation and whitened returns. They carry no gradient."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import whiten, widen, zero_masked
from rl_jax.kernels.scans import discounted_sums, recurrence


class GAE(NamedTuple):
  """Advantages, not whitened, and the critic's targets: advantages + values. Both 0 in masked slots."""

  advantages: Float[Array, "B T"]
  returns: Float[Array, "B T"]


def gae(
  token_rewards: Float[Array, "B T"],
  values: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  discount: float = 1.0,
  lam: float | Float[Array, " B"] | Float[Array, "B T"] = 1.0,
  bootstrap: Float[Array, " B"] | None = None,
) -> GAE:
  """delta_t = r_t + discount V_{t+1} - V_t; A_t = delta_t + discount lam A_{t+1}; R_t = A_t + V_t.

  GAE, arXiv 1506.02438, equation 16. t + 1 is the next unmasked slot: masked slots neither discount nor cut, and their
  rewards are ignored (`scans.move_to_trainable` saves them). The value after the last token is `bootstrap` [B],
  default 0: pass the critic's estimate for truncated rows. `lam` may differ by row (VAPO), or by slot: that of a slot
  says how far what comes before it looks past its value. lam 1 gives R_t = the discounted sum of rewards. PPO whitens A
  over the batch.

  >>> estimate = gae(jnp.array([[0.0, 1.0]]), jnp.array([[0.5, 0.25]]), jnp.ones((1, 2)), lam=0.0)
  >>> print(estimate.advantages, estimate.returns)
  [[-0.25  0.75]] [[0.25 1.  ]]
  """
  same_shape("gae", "B T", token_rewards=token_rewards, values=values, mask=mask)
  dtype = jnp.promote_types(widen(token_rewards).dtype, widen(values).dtype)
  last = jnp.zeros_like(values[:, 0], dtype) if bootstrap is None else widen(bootstrap).astype(dtype)
  lam = jnp.asarray(lam, dtype)
  by_slot = (jnp.broadcast_to(lam if lam.ndim == 2 else lam[:, None], mask.shape),) if lam.ndim else ()

  # One linear recurrence gives both: c_t = V_t + lam A_t = (1 - lam) V_t + lam R_t, and R_t = r_t + discount c_{t+1}.
  def terms(rewards, values, mask, lam=lam):
    lam = jnp.where(mask != 0, lam, 1)
    rewards, values = zero_masked(rewards, mask), zero_masked(values, mask)
    return jnp.where(mask != 0, discount * lam, 1), (1 - lam) * values + lam * rewards

  def returned(after, rewards, values, mask, *_):
    return zero_masked(zero_masked(rewards, mask) + discount * after, mask)

  # Advantages from the returns, which are read once more: sooner than a second pass over the blocks.
  returns = recurrence(terms, returned, last, token_rewards, values, mask, *by_slot)
  advantages = zero_masked(returns - zero_masked(values, mask), mask)
  return jax.lax.stop_gradient(GAE(advantages, returns))


def length_adaptive_lambda(lengths: Num[Array, " B"], *, alpha: float = 0.05) -> Float[Array, " B"]:
  """lam_i = 1 - 1 / (alpha |o_i|), clamped to [0, 1]; 0 for an empty response.

  VAPO, arXiv 2504.05118, section 4.2. The clamp is ours: with alpha 0.05 the formula is negative below 20 tokens, so
  toy tasks want an alpha of 0.5 to 2.

  >>> print(length_adaptive_lambda(jnp.array([0, 20, 40, 1000])).round(3))
  [0.   0.   0.5  0.98]
  """
  lengths = widen(lengths)
  return jnp.where(lengths > 0, jnp.clip(1 - 1 / (alpha * jnp.where(lengths > 0, lengths, 1)), 0, 1), 0)


def reinforce_pp(
  token_rewards: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  discount: float = 1.0,
  whitening: str = "verl",
) -> Float[Array, "B T"]:
  """G_t = r_t + discount G_{t+1}, whitened over all tokens of the batch; no group, no critic.

  REINFORCE++, arXiv 2501.03262, section 3. `token_rewards` hold -beta k1_t and the reward at the last token. (verl's
  returns restart at every masked slot.) Constant returns give 0.

  >>> print(reinforce_pp(jnp.array([[0.0, 1.0], [0.0, 0.0]]), jnp.ones((2, 2))).round(2))
  [[ 0.87  0.87]
   [-0.87 -0.87]]
  """
  returns = discounted_sums(token_rewards, mask, discount=discount)
  return jax.lax.stop_gradient(whiten(returns, mask, form=whitening))
