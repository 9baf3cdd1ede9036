"""Advantages from token rewards: generalised advantage estimation over tokens or turns, and whitened returns.

They carry no gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import whiten, widen, zero_masked
from rl_jax.kernels.scans import discounted_sums, linear_recurrence, recurrence
from rl_jax.kernels.segments import on_tokens, segment_ends, segment_lengths, segment_sum


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


class TurnGAE(NamedTuple):
  """Advantages, not whitened, and the critic's targets on the tokens that have one. All 0 outside of turns."""

  advantages: Float[Array, "B T"]
  returns: Float[Array, "B T"]
  has_target: Bool[Array, "B T"]


def _over_turns(token_rewards, values, turn_ids, mask, at, num_turns, discount, lam):
  """GAE [B, S] over the turns of a row, with the value of a turn on the one token of it that `at` marks."""
  sums = lambda x, mask: segment_sum(x, turn_ids, mask, num_segments=num_turns)
  exists = segment_lengths(turn_ids, mask, num_segments=num_turns) > 0
  return gae(sums(token_rewards, mask), sums(values, at), exists, discount=discount, lam=lam)


def turn_gae(
  token_rewards: Float[Array, "B T"],
  values: Float[Array, "B T"],
  turn_ids: Int[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  num_turns: int,
  discount: float = 1.0,
  lam: float = 1.0,
) -> TurnGAE:
  """delta_k = r_k + discount V_{k+1} - V_k; A_k = delta_k + discount lam A_{k+1}, over TURNS, on all tokens of turn k.

  The high level of RAGEN's bi-level GAE, arXiv 2504.20073, alone: a turn is one action. r_k is the sum of the rewards
  of a turn's tokens and V_k the value of its first token, the state before the turn; the code takes the last token.
  Only the first token has a target, A_k + V_k. After the last turn V is 0. With turns of one token it is `gae`.
  `values` are those before their tokens; turns are runs of `turn_ids` 0 .. num_turns - 1.

  >>> rewards, values = jnp.array([[0.0, 0.0, 1.0, 0.0]]), jnp.array([[0.5, 9.0, 0.25, 9.0]])
  >>> estimate = turn_gae(rewards, values, jnp.array([[0, 0, 1, 1]]), jnp.ones((1, 4)), num_turns=2, lam=0.0)
  >>> print(estimate.advantages, estimate.returns)
  [[-0.25 -0.25  0.75  0.75]] [[0.25 0.   1.   0.  ]]
  """
  same_shape("turn_gae", "B T", token_rewards=token_rewards, values=values, turn_ids=turn_ids, mask=mask)
  starts = segment_ends(turn_ids[:, ::-1], mask[:, ::-1])[:, ::-1] & (turn_ids < num_turns)
  turns = _over_turns(token_rewards, values, turn_ids, mask, starts, num_turns, discount, lam)
  return TurnGAE(on_tokens(turns.advantages, turn_ids, mask), on_tokens(turns.returns, turn_ids, starts), starts)


def bi_level_gae(
  token_rewards: Float[Array, "B T"],
  values: Float[Array, "B T"],
  turn_ids: Int[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  num_turns: int,
  discount: float = 1.0,
  lam: float = 1.0,
  token_discount: float = 1.0,
  token_lam: float = 1.0,
) -> TurnGAE:
  """GAE over turns for each turn's last token, then GAE over the tokens of a turn, backwards from there.

    A_k = r_k + discount V_{k+1} - V_k + discount lam A_{k+1}                        V_k: of the last token of turn k
    A_t = token_discount V_{t+1} - V_t + token_discount token_lam A_{t+1},  A_t = A_k on the last token of turn k

  Bi-level GAE of RAGEN, arXiv 2504.20073, as in its code and VAGEN's, which have one lambda for both levels. Rewards
  within a turn count as the turn's. The code takes the tokens with a reward other than 0 for the ends of turns, so that
  turns without one are lost; here turns have ids. All tokens of turns have a target, A_t + V_t. All four numbers 1 make
  it `gae` with lam 1.

  >>> rewards, values = jnp.array([[0.0, 0.0, 1.0, 0.0]]), jnp.array([[0.5, 0.25, 0.5, 0.75]])
  >>> print(bi_level_gae(rewards, values, jnp.array([[0, 0, 1, 1]]), jnp.ones((1, 4)), num_turns=2, lam=0.0).advantages)
  [[0.25 0.5  0.5  0.25]]
  """
  same_shape("bi_level_gae", "B T", token_rewards=token_rewards, values=values, turn_ids=turn_ids, mask=mask)
  inside = (mask != 0) & (turn_ids >= 0) & (turn_ids < num_turns)
  ends = segment_ends(turn_ids, inside)
  turns = _over_turns(token_rewards, values, turn_ids, inside, ends, num_turns, discount, lam)
  steps = gae(jnp.zeros_like(values), values, inside, discount=token_discount, lam=0.0).advantages
  terms = jnp.where(ends, on_tokens(turns.advantages, turn_ids, ends), steps)
  advantages = linear_recurrence(jnp.where(ends, 0.0, token_discount * token_lam), terms, inside)
  returns = zero_masked(advantages + zero_masked(values, inside), inside)
  return jax.lax.stop_gradient(TurnGAE(advantages, returns, inside))


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
