"""CANON."""

from __future__ import annotations

from rl_jax.kernels.advantages import conditional
from tests.kernels.kernel import Kernel

HALVES = {"metric": "B", "group_ids": "B", "mask": "B"}
# Without ties, which the order of the rows decides.
DRAWS = {"metric": lambda rng, shape: rng.normal(size=shape).astype("float32")}

KERNELS = [
  Kernel(conditional.mean_entropy, {"entropies": "BT", "mask": "BT"}),
  Kernel(conditional.upper_half, HALVES, scope="group", draws=DRAWS),
  Kernel(conditional.canon, {"rewards": "B", **HALVES, "mu": ""}, scope="group", draws=DRAWS),
  Kernel(
    conditional.canon,
    {"rewards": "B", **HALVES},
    {"mu": 0.5, "alpha": 0.8, "weighted": "lower", "beta": 0.05, "singleton": "zero"},
    scope="group",
    draws=DRAWS,
  ),
  Kernel(conditional.mixing_by_accuracy, {"accuracy": ""}, mask=None),
  Kernel(
    conditional.mixing_by_cosine,
    {"step": ""},
    mask=None,
    draws={"step": lambda rng, shape: rng.integers(0, 150, shape).astype("int32")},
  ),
]
