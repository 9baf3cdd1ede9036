"""Successive batching."""

from __future__ import annotations

from rl_jax.kernels.curricula import batching
from tests.kernels.kernel import Kernel

SLOTS = {"prompts": "B", "free": "B", "next_prompt": ""}
DRAWS = {
  "prompts": lambda rng, shape: rng.permutation(shape[0]).astype("int32"),
  "free": lambda rng, shape: rng.random(shape) < 0.5,
  "next_prompt": lambda rng, shape: rng.integers(6, 9, shape).astype("int32"),
}
SCHEDULE = {"num_slots": 4, "window": 100, "max_length": 250}

KERNELS = [
  Kernel(batching.refill, SLOTS, {"num_prompts": 10}, mask=None, scope="batch", ordered=True, draws=DRAWS),
  Kernel(batching.successive_batches, {"lengths": "B"}, SCHEDULE, mask=None, scope="batch", ordered=True),
  Kernel(
    batching.synchronous_tokens,
    {"lengths": "B"},
    {"num_slots": 4, "max_length": 250},
    mask=None,
    scope="batch",
    ordered=True,
  ),
]
