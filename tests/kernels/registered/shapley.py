"""SCAR's credits and rewards, and potential-based shaping."""

from __future__ import annotations

import numpy as np

from rl_jax.kernels.rewards import attribution, potential
from tests.kernels.kernel import Kernel

SIZES = {"U": 3, "C": 8, "P": 2, "O": 4}  # U units, C = 2^U coalitions, P orders with O = U + 1 prefixes
GAME = {"values": "BC", "mask": "BU"}


def _orders(rng, shape):
  return rng.permuted(np.broadcast_to(np.arange(shape[-1]), shape), axis=-1).astype(np.int32)


def _blocks(rng, shape):
  return rng.integers(-1, 1, shape).astype(np.int32)


KERNELS = [
  Kernel(attribution.shapley, GAME, sizes=SIZES),
  Kernel(attribution.owen, {**GAME, "block_ids": "BU"}, sizes=SIZES, draws={"block_ids": _blocks}),
  Kernel(
    attribution.prefix_values,
    {"values": "BC", "orders": "BPU", "mask": "BU"},
    sizes=SIZES,
    draws={"orders": _orders},
    zero_masked=False,
  ),
  Kernel(
    attribution.permutation_shapley,
    {"values": "BPO", "orders": "BPU", "mask": "BU"},
    sizes=SIZES,
    draws={"orders": _orders},
  ),
  Kernel(
    attribution.scar_rewards,
    {
      "credits": "BS",
      "unit_ids": "BT",
      "terminal_rewards": "B",
      "logprobs": "BT",
      "ref_logprobs": "BT",
      "mask": "BT",
    },
    {"alpha": 0.8, "kl_coef": 0.1},
    draws={"unit_ids": lambda rng, shape: np.sort(rng.integers(-1, 4, shape), axis=-1).astype(np.int32)},
  ),
  Kernel(
    potential.potential_shaping,
    {"potentials": "BT", "terminal": "B", "mask": "BT"},
    {"discount": 0.9},
  ),
]
