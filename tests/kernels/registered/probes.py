"""SPAE's probe signals."""

from __future__ import annotations

from rl_jax.kernels.rewards import probes
from tests.kernels.kernel import Kernel

KERNELS = [
  Kernel(probes.probe_confidence, {"entropies": "BSNL", "mask": "BSNL"}, sizes={"N": 2, "L": 3}),
  Kernel(probes.probe_accuracy, {"answer_logprobs": "BSM", "mask": "BSM"}, sizes={"M": 3}),
  Kernel(probes.step_potential, {"accuracy": "BS", "confidence": "BS", "mask": "BS"}),
]
