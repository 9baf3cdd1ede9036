"""Agreement of estimates with the truth."""

from __future__ import annotations

from rl_jax.kernels.analysis import agreement
from tests.kernels.kernel import Kernel

PAIR = {"x": "BS", "y": "BS", "mask": "BS"}

KERNELS = [
  Kernel(agreement.unexplained, PAIR, scope="batch"),
  Kernel(agreement.average_ranks, {"x": "BS", "mask": "BS"}, scope="batch"),
  Kernel(agreement.rank_correlation, PAIR, scope="batch"),
  Kernel(agreement.sign_agreement, PAIR, scope="batch"),
]
