"""ADHint."""

from __future__ import annotations

from rl_jax.kernels.advantages import hints
from rl_jax.kernels.curricula import hints as lengths
from tests.kernels.kernel import Kernel

ROWS = {"rewards": "B", "hinted": "B", "group_ids": "B", "mask": "B"}
TOKENS = {"entropies": "BT", "advantages": "B", "hint_mask": "BT", "mask": "BT"}
DRAWS = {
  "hinted": lambda rng, shape: rng.random(shape) < 0.5,
  "difficulties": lambda rng, shape: rng.random(shape).astype("float32"),
  "ratios": lambda rng, shape: rng.random(shape).astype("float32"),
  "entropies": lambda rng, shape: rng.random(shape).astype("float32"),
}

KERNELS = [
  Kernel(lengths.difficulty, {"rewards": "B", "group_ids": "B", "mask": "B"}, scope="group", zero_masked=False),
  Kernel(lengths.hint_ratio, {"difficulties": "B", "noise": "B"}, mask=None, draws=DRAWS),
  Kernel(lengths.hint_lengths, {"ratios": "B", "lengths": "B"}, mask=None, draws=DRAWS),
  Kernel(hints.kind_weights, ROWS, scope="group", zero_masked=False, draws=DRAWS),
  Kernel(hints.adhint, ROWS, scope="group", draws=DRAWS),
  Kernel(hints.adhint, ROWS, {"base": "separate"}, scope="group", draws=DRAWS),
  Kernel(hints.hint_token_weights, TOKENS, draws=DRAWS),
]
