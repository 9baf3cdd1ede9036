"""HiPER: hierarchical advantages per turn, their place on tokens, and the reward shaping before them."""

from __future__ import annotations

import jax.numpy as jnp

from rl_jax.kernels.advantages import hierarchy
from rl_jax.kernels.rewards.subgoals import subgoal_shaping


def compute(case, inputs):
  if "subgoals" in inputs:
    return shaping(**inputs)
  return token_assignment(**inputs) if "action_mask" in inputs else turns(**inputs)


def turns(
  rewards,
  switch,
  lengths,
  terminated,
  v_low,
  v_high,
  v_term=None,
  beta=None,
  v_low_prev=None,
  gamma=1.0,
  lam_turn=1.0,
  lam_seg=0.95,
  bootstrap_truncated=False,
  norm_adv=False,
):
  mask = jnp.arange(rewards.shape[1]) < lengths[:, None]
  options = dict(discount=gamma, bootstrap_truncated=bootstrap_truncated)
  two = hierarchy.hae(
    rewards, switch, terminated, v_low, v_high, mask, lam_turn=lam_turn, lam_segment=lam_seg, **options
  )
  if v_term is None:  # the reference has no switch advantage then: as if the head were right
    v_term = hierarchy.switch_estimate(rewards, switch, terminated, v_high, v_high, mask, **options).returns
  third = hierarchy.switch_estimate(rewards, switch, terminated, v_high, v_term, mask, **options)
  # Likewise for the paper's form: a decision that was certain.
  beta, v_low_prev = switch if beta is None else beta, v_high if v_low_prev is None else v_low_prev
  low, high, term = two.low.advantages, two.high.advantages, third.advantages
  if norm_adv:
    # An action, a subgoal and a switch token for each turn, and the three read off them.
    masks = [mask[..., None] & (jnp.arange(3) == i) for i in range(3)]
    on_tokens, _ = _on_tokens(low, high, term, two.boundaries, mask, *masks, normalize=True)
    low, high, term = jnp.moveaxis(on_tokens, -1, 0)
  return {
    "boundary": two.boundaries,
    "adv_low": low,
    "ret_low": two.low.returns,
    "adv_high": high,
    "ret_high": two.high.returns,
    "ret_term": third.returns,
    "adv_term": term,
    "adv_switch_paper": hierarchy.switch_gain(switch, beta, v_high, v_low_prev, mask),
  }


def _on_tokens(low, high, term, boundary, mask, action_mask, subgoal_mask, switch_mask, normalize):
  """Turns of N tokens each, [B, S, N], as rows of S N tokens and back."""
  shape = action_mask.shape
  rows = lambda x: x.reshape(shape[0], -1)
  turn_ids = rows(jnp.broadcast_to(jnp.arange(shape[1])[:, None], shape))
  result = hierarchy.hierarchy_on_tokens(
    low,
    high,
    term,
    boundary != 0,
    mask,
    turn_ids,
    rows(action_mask),
    rows(subgoal_mask),
    rows(switch_mask),
    normalize=normalize,
  )
  return result.advantages.reshape(shape), result.mask.reshape(shape)


def token_assignment(adv_low, adv_high, adv_term, boundary, switch_mask, subgoal_mask, action_mask):
  turn_mask = jnp.ones(adv_low.shape, bool)
  advantages, loss_mask = _on_tokens(
    adv_low, adv_high, adv_term, boundary, turn_mask, action_mask, subgoal_mask, switch_mask, normalize=False
  )
  return {"advantages": advantages, "loss_mask": loss_mask}


def shaping(
  rewards,
  switch,
  lengths,
  subgoals,
  is_action_valid,
  keep_penalty=0.0,
  keep_penalty_mode="normalized",
  keep_consistency_penalty=0.0,
  invalid_action_coef=0.1,
):
  mask = jnp.arange(rewards.shape[1]) < lengths[:, None]
  return {
    "rewards": subgoal_shaping(
      rewards,
      switch,
      subgoals,
      is_action_valid,
      mask,
      keep_penalty=keep_penalty,
      keep_mode=keep_penalty_mode,
      inconsistency_penalty=keep_consistency_penalty,
      invalid_penalty=-invalid_action_coef,
    )
  }
