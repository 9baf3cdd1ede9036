from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.curricula.batching import refill, successive_batches, synchronous_tokens
from tests.kernels.kernel import Kernel
from tests.kernels.papers.tppo import records


def simulate(lengths, slots, window, longest):
  queue, busy, steps = list(enumerate(lengths)), [], []
  while queue or busy:
    while queue and len(busy) < slots:
      prompt, length = queue.pop(0)
      busy.append((prompt, 0, min(length, longest)))
    step = [(prompt, start, min(start + window, length), length) for prompt, start, length in busy]
    steps.append([{"prompt": p, "start": s, "end": e, "finished": e == n} for p, s, e, n in step])
    busy = [(prompt, end, length) for prompt, _, end, length in step if end < length]
  return steps


@pytest.mark.parametrize("slots", [1, 3, 20])
@pytest.mark.parametrize("lengths", [np.random.default_rng(0).integers(0, 30, 17), np.full(17, 30)])
def test_every_response_is_decoded_once(lengths, slots):
  schedule = successive_batches(jnp.array(lengths), num_slots=slots, window=7, max_length=20)
  expected = simulate(lengths.tolist(), slots, 7, 20)
  assert records(schedule) == expected
  assert schedule.num_steps == len(expected)
  assert (schedule.ends - schedule.starts).sum() == np.minimum(lengths, 20).sum()
  assert schedule.finished.sum() == len(lengths)


def test_one_window_and_equal_lengths_is_the_synchronous_batch():
  lengths = jnp.array([5] * 6 + [9])
  schedule = successive_batches(lengths, num_slots=3, window=8, max_length=8)
  assert schedule.sequential_tokens == synchronous_tokens(lengths, num_slots=3, max_length=8) == 5 + 5 + 8


def test_slots_keep_their_place():
  slots = refill(jnp.array([4, 1, -1, 3]), jnp.array([False, True, True, False]), jnp.array(5), num_prompts=6)
  np.testing.assert_array_equal(slots.prompts, [4, 5, -1, 3])
  assert slots.next_prompt == 6


def test_sizes_are_positive():
  with pytest.raises(ValueError, match="sizes start at 1, got num_slots 2, window 0"):
    successive_batches(jnp.array([3]), num_slots=2, window=0)


SLOTS = {"prompts": "B", "free": "B", "next_prompt": ""}
DRAWS = {
  "prompts": lambda rng, shape: rng.permutation(shape[0]).astype("int32"),
  "free": lambda rng, shape: rng.random(shape) < 0.5,
  "next_prompt": lambda rng, shape: rng.integers(6, 9, shape).astype("int32"),
}
SCHEDULE = {"num_slots": 4, "window": 100, "max_length": 250}

KERNELS = [
  Kernel(refill, SLOTS, {"num_prompts": 10}, mask=None, scope="batch", ordered=True, draws=DRAWS),
  Kernel(successive_batches, {"lengths": "B"}, SCHEDULE, mask=None, scope="batch", ordered=True),
  Kernel(
    synchronous_tokens,
    {"lengths": "B"},
    {"num_slots": 4, "max_length": 250},
    mask=None,
    scope="batch",
    ordered=True,
  ),
]
