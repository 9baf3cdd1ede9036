"""SIRI's schedule of the maximal length."""

from __future__ import annotations

from rl_jax.kernels.curricula import length_schedule
from tests.kernels.kernel import Kernel

DRAWS = {
  "step": lambda rng, shape: rng.integers(0, 2000, shape).astype("int32"),
  "limits": lambda rng, shape: rng.integers(0, 4, shape).astype("int32"),
}

KERNELS = [
  *(
    Kernel(length_schedule.length_limit, {"step": "B"}, {"kind": kind}, mask=None, draws=DRAWS)
    for kind in ("cosine", "stair_cosine")
  ),
  Kernel(length_schedule.truncate, {"mask": "BT", "limits": "B"}, draws=DRAWS),
  Kernel(
    length_schedule.efficiency,
    dict.fromkeys(["accuracy", "length", "base_accuracy", "base_length"], "B"),
    mask=None,
  ),
]
