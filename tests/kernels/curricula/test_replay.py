from __future__ import annotations

import jax.numpy as jnp

from rl_jax.kernels.curricula import replay
from tests.kernels.kernel import Kernel

PAST = jnp.array([[1, 0, 1, 1]] * 2)
IDS, BOTH = jnp.array([7, 7]), jnp.ones(2, bool)


def slots(correct, past=PAST, filled=None, mask=BOTH, **options):
  filled = jnp.ones_like(past) if filled is None else filled
  return replay.replay_slots(jnp.array(correct), past, filled, IDS, mask, **options)


def test_the_opposite_outcome_newest_first():
  assert slots([False, False]).slots.tolist() == [[3, 2], [3, 2]]
  right = slots([True, True])
  assert right.slots[:, 0].tolist() == [1, 1]
  assert right.mask.tolist() == [[True, False]] * 2
  assert slots([False, False], num_replay=9).mask.sum(axis=1).tolist() == [3, 3]


def test_who_gets_none():
  assert not slots([True, False]).mask.any()
  assert not slots([False, False], past=jnp.zeros_like(PAST)).mask.any()
  assert not slots([False, False], filled=jnp.zeros_like(PAST)).mask.any()
  # The unscored row neither makes its group mixed nor gets a replay.
  assert slots([True, False], mask=jnp.array([False, True])).mask.tolist() == [[False, False], [True, True]]


def test_hard_prompts_need_reflection():
  past = jnp.array([[1, 0, 0], [1, 0, 1], [0, 0, 0]])
  filled = jnp.array([[1, 1, 1], [1, 1, 0], [0, 0, 0]])
  assert replay.needs_reflection(past, filled).tolist() == [True, False, False]
  assert replay.needs_reflection(past, filled, threshold=0.6).tolist() == [True, True, False]


DRAWS = {
  "buffer_correct": lambda rng, shape: rng.integers(0, 2, shape).astype("float32"),
  "correct": lambda rng, shape: rng.random(shape) < 0.1,
}

KERNELS = [
  Kernel(
    replay.replay_slots,
    {"correct": "B", "buffer_correct": "BH", "buffer_mask": "BH", "group_ids": "B", "mask": "B"},
    scope="group",
    covers={"buffer_correct": "buffer_mask"},
    draws=DRAWS,
    sizes={"H": 4},
  ),
  Kernel(
    replay.needs_reflection,
    {"buffer_correct": "BH", "buffer_mask": "BH"},
    mask="buffer_mask",
    draws=DRAWS,
    sizes={"H": 4},
  ),
]
