"""V0.5's stopping rule."""

from __future__ import annotations

from rl_jax.kernels.curricula import stopping
from tests.kernels.kernel import Kernel

GAIN = {"squared_bias": "B", "samples": "B"}
SLOTS = {"rewards": "BS", "priors": "B", "mask": "BS"}
DRAWS = {
  "squared_bias": lambda rng, shape: rng.random(shape).astype("float32"),
  "samples": lambda rng, shape: rng.integers(0, 9, shape).astype("int32"),
}
RULE = {"k_init": 2, "k_max": 3, "cost": 0.05}

KERNELS = [
  Kernel(stopping.expected_gain, GAIN, mask=None, draws=DRAWS),
  Kernel(stopping.look_ahead_stopping, SLOTS, RULE),
]
