"""HiPER's hierarchical advantage estimation: one GAE over turns inside a segment, one over segments, one for switching.

Arrays are [B, S], one value per turn, with a mask of the turns that exist. A turn that switches starts a new segment
with its own subgoal; the first turn always does. `terminated` [B]: True if the last turn ended the episode, False if
the turn limit cut it. Values are read once per turn: V_low(s_t, o_t) after the subgoal o_t, V_high(s_t) before the
switch. Advantages and targets carry no gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.advantages.returns import GAE, gae
from rl_jax.kernels.reductions import standardize, zero_masked
from rl_jax.kernels.segments import last_token, on_tokens, segment_lengths


class HAE(NamedTuple):
  """The two levels, not normalised, each with its critic's targets; 0 at turns that do not exist."""

  low: GAE
  high: GAE
  """Advantages and targets at the first turn of each segment; 0 at the other turns."""
  boundaries: Bool[Array, "B S"]
  """The first turn of each segment."""


class TokenAdvantages(NamedTuple):
  """Advantages on tokens, and the tokens that are trained."""

  advantages: Float[Array, "B T"]
  mask: Bool[Array, "B T"]


def segment_boundaries(switch: Num[Array, "B S"], mask: Num[Array, "B S"]) -> Bool[Array, "B S"]:
  """The first turn of the row and every turn that switches.

  >>> print(segment_boundaries(jnp.array([[0, 0, 1, 1]]), jnp.array([[1, 1, 1, 0]])))
  [[ True False  True False]]
  """
  same_shape("segment_boundaries", "B S", switch=switch, mask=mask)
  exists = mask != 0
  return exists & ((switch != 0) | (jnp.cumsum(exists, axis=1) == 1))


def _bootstrap(values, slots, terminated, bootstrap_truncated):
  """The value [B] at the last of these slots if the episode was cut, else 0."""
  last = last_token(slots)
  cut = (terminated == 0) & bootstrap_truncated
  return jnp.where(cut, zero_masked(values, last).sum(axis=1), 0)


def hae(
  rewards: Float[Array, "B S"],
  switch: Num[Array, "B S"],
  terminated: Bool[Array, " B"],
  low_values: Float[Array, "B S"],
  high_values: Float[Array, "B S"],
  mask: Num[Array, "B S"],
  *,
  discount: float = 1.0,
  lam_turn: float = 1.0,
  lam_segment: float = 0.95,
  bootstrap_truncated: bool = False,
) -> HAE:
  """A_low: GAE inside each segment, bootstrapped at its end on V_high of the next; A_high: GAE over segments.

  HiPER, arXiv 2602.16165. Inside a segment, delta_t = r_t + discount V_low(t+1) - V_low(t) and
  A_low(t) = delta_t + discount lam_turn A_low(t+1); after its last turn the value is V_high of the next segment and
  A_low restarts. For segment k, with d turns from b on and discounted rewards of sum R, and the next one from b' on,
  delta_k = R + discount^d V_high(b') - V_high(b) and A_high(b) = delta_k + discount^d lam_segment A_high(b').
  An episode that ended bootstraps on 0. One that was cut bootstraps on 0 too or, with `bootstrap_truncated` (a setting
  of the task), on V_low of its last turn and V_high of its last segment. The defaults are those of the authors' code.

  >>> r, v = jnp.array([[0.0, 0.0, 1.0]]), jnp.array([[0.5, 0.5, 0.5]])
  >>> estimate = hae(r, jnp.array([[1, 0, 1]]), jnp.array([True]), v, 0.25 + v, jnp.ones((1, 3)), lam_segment=0.5)
  >>> print(estimate.low.advantages, estimate.high.advantages)
  [[0.25 0.25 0.5 ]] [[0.125 0.    0.25 ]]
  """
  same_shape("hae", "B S", rewards=rewards, low_values=low_values, high_values=high_values, mask=mask)
  boundaries = segment_boundaries(switch, mask)
  rewards, low_values, high_values = (zero_masked(x, mask) for x in (rewards, low_values, high_values))

  stops = jnp.where(boundaries, high_values, low_values)
  after_low = _bootstrap(low_values, mask != 0, terminated, bootstrap_truncated)
  # Lambda is 0 at the first turn of a segment: earlier turns look no further than its value.
  lam_low = jnp.where(boundaries, 0.0, lam_turn)
  low_returns = gae(rewards, stops, mask, discount=discount, lam=lam_low, bootstrap=after_low).returns

  after_high = _bootstrap(high_values, boundaries, terminated, bootstrap_truncated)
  lam_high = jnp.where(boundaries, lam_segment, 1.0)
  high_returns = gae(rewards, high_values, mask, discount=discount, lam=lam_high, bootstrap=after_high).returns
  high_returns = zero_masked(high_returns, boundaries)

  low = GAE(zero_masked(low_returns - low_values, mask), low_returns)
  high = GAE(zero_masked(high_returns - high_values, boundaries), high_returns)
  return jax.lax.stop_gradient(HAE(low, high, boundaries))


def switch_gain(
  switch: Num[Array, "B S"],
  switch_probabilities: Float[Array, "B S"],
  high_values: Float[Array, "B S"],
  kept_low_values: Float[Array, "B S"],
  mask: Num[Array, "B S"],
) -> Float[Array, "B S"]:
  """A_switch(t) = (q_t - beta_t) (V_high(s_t) - V_low(s_t, o_{t-1})), q_t 1 for a switch, beta_t its probability.

  HiPER, arXiv 2602.16165, the paper's form; `switch_estimate` is the form of the authors' code. `kept_low_values` are
  V_low(s_t, o_{t-1}), under the previous subgoal. 0 at the first turn, which has no previous subgoal.

  >>> half = jnp.full((1, 2), 0.5)
  >>> print(switch_gain(jnp.array([[1, 1]]), half, jnp.ones((1, 2)), half, jnp.ones((1, 2))))
  [[0.   0.25]]
  """
  same_shape(
    "switch_gain",
    "B S",
    switch=switch,
    switch_probabilities=switch_probabilities,
    high_values=high_values,
    kept_low_values=kept_low_values,
    mask=mask,
  )
  later = (mask != 0) & (jnp.cumsum(mask != 0, axis=1) > 1)
  surprise = (switch != 0) - zero_masked(switch_probabilities, later)
  gain = zero_masked(high_values, later) - zero_masked(kept_low_values, later)
  return jax.lax.stop_gradient(zero_masked(surprise * gain, later))


def switch_estimate(
  rewards: Float[Array, "B S"],
  switch: Num[Array, "B S"],
  terminated: Bool[Array, " B"],
  high_values: Float[Array, "B S"],
  switch_values: Float[Array, "B S"],
  mask: Num[Array, "B S"],
  *,
  discount: float = 1.0,
  bootstrap_truncated: bool = False,
) -> GAE:
  """A_switch(t) = G_t - V_switch(s_t), G_t = r_t + discount G_{t+1} inside the segment, then V_high of the next.

  HiPER, arXiv 2602.16165, the form of the authors' code, with a third value head V_switch whose targets are G;
  `switch_gain` is the paper's form. The end of an episode bootstraps as on the high level of `hae`.

  >>> r, half = jnp.array([[0.0, 0.0, 1.0]]), jnp.full((1, 3), 0.5)
  >>> print(switch_estimate(r, jnp.array([[1, 0, 1]]), jnp.array([True]), 0.25 + half, half, jnp.ones((1, 3))).returns)
  [[0.75 0.75 1.  ]]
  """
  same_shape("switch_estimate", "B S", rewards=rewards, high_values=high_values, switch_values=switch_values, mask=mask)
  boundaries = segment_boundaries(switch, mask)
  rewards, high_values = zero_masked(rewards, mask), zero_masked(high_values, mask)
  after = _bootstrap(high_values, boundaries, terminated, bootstrap_truncated)
  lam = jnp.where(boundaries, 0.0, 1.0)
  returns = gae(rewards, high_values, mask, discount=discount, lam=lam, bootstrap=after).returns
  return jax.lax.stop_gradient(GAE(returns - zero_masked(switch_values, mask), returns))


def hierarchy_on_tokens(
  low: Float[Array, "B S"],
  high: Float[Array, "B S"],
  switch: Float[Array, "B S"],
  boundaries: Bool[Array, "B S"],
  mask: Num[Array, "B S"],
  turn_ids: Int[Array, "B T"],
  action_mask: Num[Array, "B T"],
  subgoal_mask: Num[Array, "B T"],
  switch_mask: Num[Array, "B T"],
  *,
  normalize: bool = True,
  eps: float = 1e-8,
) -> TokenAdvantages:
  """A_low on action tokens, A_high on the subgoal tokens that start a segment, A_switch on switch tokens.

  HiPER, arXiv 2602.16165. A subgoal that is only copied is not trained, nor is text outside the three spans; a turn
  without an action span has its whole response as `action_mask`. `normalize`: (A - mean) / (std + eps), std with
  ddof 0, for each level separately, over the turns of the batch that have trained tokens of this level, each counted
  once; a constant level gives 0. A token in two spans gets the sum. Aggregate by "token_mean" over the result's mask.

  >>> one, ids = jnp.ones((1, 2)), jnp.array([[0, 0, 1, 1]])
  >>> subgoals, none = jnp.array([[1, 0, 1, 0]]), jnp.zeros((1, 4))
  >>> args = one, 2 * one, 3 * one, jnp.array([[True, False]]), one, ids, 1 - subgoals, subgoals, none
  >>> print(hierarchy_on_tokens(*args, normalize=False).advantages)
  [[2. 1. 0. 1.]]
  """
  same_shape("hierarchy_on_tokens", "B S", low=low, high=high, switch=switch, boundaries=boundaries, mask=mask)
  exists = mask != 0
  levels = ((low, exists, action_mask), (high, exists & boundaries, subgoal_mask), (switch, exists, switch_mask))
  placed, trained = [], jnp.zeros(turn_ids.shape, bool)
  for values, turns, spans in levels:
    tokens = (spans != 0) & (on_tokens(turns, turn_ids, spans) != 0)
    if normalize:
      present = segment_lengths(turn_ids, tokens, num_segments=mask.shape[1]) > 0
      values = standardize(values, None, present, ddof=0, eps=eps)
    placed.append(on_tokens(values, turn_ids, tokens))
    trained |= tokens
  return jax.lax.stop_gradient(TokenAdvantages(sum(placed[1:], placed[0]), trained))
