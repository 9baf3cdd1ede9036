"""SPO-chain."""

from __future__ import annotations

from rl_jax.kernels.advantages import segment
from rl_jax.kernels.losses import segment as segment_loss
from tests.kernels.kernel import Kernel

TOKENS = {"old_logprobs": "BT", "mask": "BT"}
CHAIN = {"cut_values": "BS", "rewards": "B", **TOKENS}

KERNELS = [
  Kernel(segment.probability_mask, TOKENS),
  Kernel(segment.cutpoint_segments, TOKENS, {"num_segments": 2, "interval": 2}, zero_masked=False),
  Kernel(segment.spo_chain, CHAIN, {"interval": 2}),
  Kernel(segment.spo_chain, CHAIN, {"interval": 1, "tokens": "all"}),
  Kernel(segment.whiten_uncertain, {"advantages": "BT", **TOKENS}, scope="batch"),
  Kernel(
    segment_loss.spo,
    {"logprobs": "BT", "old_logprobs": "BT", "ref_logprobs": "BT", "advantages": "BT", "mask": "BT"},
    gradients=("logprobs",),
  ),
]
