"""Entropy ranking and length bonus (R3)."""

from __future__ import annotations

from rl_jax.kernels.rewards import ranking
from tests.kernels.kernel import Kernel

RANKED = {
  "entropies": "BT",
  "correct": "B",
  "truncated": "B",
  "group_ids": "B",
  "mask": "B",
  "token_mask": "BT",
}
DRAWS = {
  "entropies": lambda rng, shape: rng.exponential(size=shape).astype("float32"),
  "correct": lambda rng, shape: rng.random(shape) < 0.1,
  "truncated": lambda rng, shape: rng.random(shape) < 0.9,
}


def _ranking(**options):
  return Kernel(
    ranking.entropy_ranking,
    RANKED,
    options,
    scope="group",
    covers={"entropies": "token_mask"},
    ordered=options["ties"] == "stable",
    draws=DRAWS,
  )


KERNELS = [
  Kernel(ranking.length_bonus_reward, {"correct": "B", "lengths": "B"}, {"max_length": 200}, mask=None),
  _ranking(ties="average"),
  _ranking(ties="stable", top_share=0.5),
]
