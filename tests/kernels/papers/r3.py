"""R3: one prompt a case; replayed responses become rows of its group."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.advantages.replay import r3_mixed
from rl_jax.kernels.curricula.replay import replay_slots
from rl_jax.kernels.rewards.ranking import entropy_ranking, length_bonus_reward
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  return serr(**inputs) if "ties" in inputs else build_group(**inputs)


def serr(entropies, mask, p, r_max, ties):
  every = jnp.ones(mask.shape[0], bool)
  rank = quick_jit(lambda *a: entropy_ranking(*a, top_share=p, max_reward=r_max, ties=ties))
  ranking = rank(entropies, ~every, every, jnp.where(every, 7, 7), every, mask)
  return {"peak": ranking.peaks, "global": ranking.means, "score": ranking.dominated, "rewards": ranking.rewards}


def build_group(
  correct, truncated, lengths, entropies, mask, buffer_correct, buffer_lengths, p, r_max, len_max, alpha, lam, k_replay
):
  size = len(correct)
  past_correct, past_lengths = (jnp.asarray(x, int).reshape(-1) for x in (buffer_correct, buffer_lengths))

  def group(correct, truncated, lengths, entropies, mask):
    every, ids = jnp.ones(size, bool), jnp.full(size, 7)
    correct, truncated = correct != 0, truncated != 0
    ranking = entropy_ranking(entropies, correct, truncated, ids, every, mask, top_share=p, max_reward=r_max)
    rewards = length_bonus_reward(correct, lengths, max_length=len_max) + ranking.rewards
    buffer = jnp.broadcast_to(past_correct, (size, past_correct.shape[0]))
    chosen = replay_slots(correct, buffer, jnp.ones_like(buffer), ids, every, num_replay=k_replay)
    slots, filled = chosen.slots[0], chosen.mask[0]
    replayed = length_bonus_reward(past_correct[slots] != 0, past_lengths[slots], max_length=len_max)
    together = jnp.concatenate([rewards, replayed])
    scored = jnp.concatenate([every, filled])
    advantages = r3_mixed(together, jnp.full(together.shape[0], 7), scored, alpha=alpha, lam=lam)
    return ranking.rewards, rewards, slots, filled, replayed, advantages

  serr, rewards, slots, filled, replayed, advantages = quick_jit(group)(correct, truncated, lengths, entropies, mask)
  filled = np.asarray(filled)
  return {
    "serr": serr,
    "rewards": rewards,
    "replay_index": np.asarray(slots)[filled],
    "replay_rewards": np.asarray(replayed)[filled],
    "advantages": advantages[:size],
    "replay_advantages": np.asarray(advantages[size:])[filled],
  }
