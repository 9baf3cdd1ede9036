"""T-PPO's advantages and masks."""

from __future__ import annotations

from rl_jax.kernels.advantages import truncated
from tests.kernels.kernel import Kernel

RESPONSES = {"token_rewards": "BT", "values": "BT", "mask": "BT", "finished": "B"}
DRAWS = {
  "finished": lambda rng, shape: rng.random(shape) < 0.5,
  "window_starts": lambda rng, shape: rng.integers(0, 3, shape).astype("int32"),
}

KERNELS = [
  Kernel(truncated.extended_gae, RESPONSES, {"discount": 0.9}, draws=DRAWS),
  Kernel(truncated.tppo, {**RESPONSES, "window_starts": "B"}, {"discount": 0.9}, draws=DRAWS),
  Kernel(truncated.tppo, {**RESPONSES, "window_starts": "B"}, {"tokens": "response"}, draws=DRAWS),
]
