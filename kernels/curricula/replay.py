"""Uses of a prompt's past rollouts: replay in groups without variance, reflection on hard prompts.

The buffer of a prompt is repeated for each of its rows: `buffer_correct` [B, H], oldest first, `buffer_mask` [B, H]
True on filled slots.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import group_size, group_sum, masked_mean, zero_masked


class ReplaySlots(NamedTuple):
  """Buffer slots to replay, newest first; 0 and False beyond those available."""

  slots: Int[Array, "B N"]
  mask: Bool[Array, "B N"]


def replay_slots(
  correct: Bool[Array, " B"],
  buffer_correct: Num[Array, "B H"],
  buffer_mask: Num[Array, "B H"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  num_replay: int = 2,
) -> ReplaySlots:
  """Past correct responses to the prompt for a group that is all wrong; past wrong ones for a group that is all right.

  R3 (CCR), arXiv 2601.19620, section 3. Groups are compared by correctness, not by reward. At most `num_replay` are
  taken, or as many as there are; that the newest come first is inferred. Every row of a group gets the same slots;
  groups with both outcomes, and unscored rows, get none. Choose before the new rollouts enter the buffer.

  >>> correct, past = jnp.array([False, False]), jnp.array([[1, 0, 1, 1]] * 2)
  >>> chosen = replay_slots(correct, past, jnp.ones((2, 4)), jnp.array([7, 7]), jnp.array([True, True]))
  >>> print(chosen.slots[0], chosen.mask[0])
  [3 2] [ True  True]
  """
  same_shape("replay_slots", "B H", buffer_correct=buffer_correct, buffer_mask=buffer_mask)
  right, size = group_sum(correct, group_ids, mask), group_size(group_ids, mask)
  uniform = (mask != 0) & ((right == 0) | (right == size))
  opposite = (buffer_correct != 0) != (right > 0)[:, None]
  usable = (buffer_mask != 0) & opposite & uniform[:, None]
  slots = -jnp.sort(-jnp.where(usable, jnp.arange(usable.shape[1], dtype=jnp.int32), -1), axis=1)[:, :num_replay]
  return ReplaySlots(jnp.maximum(slots, 0), slots >= 0)


def needs_reflection(
  buffer_correct: Num[Array, "B H"], buffer_mask: Num[Array, "B H"], *, threshold: float = 0.5
) -> Bool[Array, " B"]:
  """Return whether the mean of a prompt's past outcomes is below the threshold; False without a past.

  R3 (ISR), arXiv 2601.19620, section 3: such a prompt is asked once more together with a past wrong response and an
  instruction to reflect. 0/1 outcomes and the value of the threshold are inferred.

  >>> print(needs_reflection(jnp.array([[1, 0, 0], [1, 1, 0]]), jnp.array([[1, 1, 1], [1, 1, 0]])))
  [ True False]
  """
  same_shape("needs_reflection", "B H", buffer_correct=buffer_correct, buffer_mask=buffer_mask)
  history = masked_mean(zero_masked(buffer_correct, buffer_mask), buffer_mask, axis=1)
  return (history.weight > 0) & (history.value < threshold)
