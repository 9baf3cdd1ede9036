"""PAV: progress under a prover, provers, search, and the planted task."""

from __future__ import annotations

import numpy as np

from rl_jax.kernels.analysis import planted_prover, provers
from rl_jax.kernels.rewards import process
from rl_jax.kernels.search import beam
from tests.kernels.kernel import Kernel


def _probabilities(rng, shape):
  """Some actions impossible, and the last state without any."""
  weights = rng.random(shape) * (rng.random(shape) < 0.75)
  weights[-1] = 0
  return weights.astype(np.float32)


def _labels(rng, shape):
  return rng.choice([0.0, 0.25, 0.75], shape).astype(np.float32)


def _target(rng, shape):
  return rng.integers(0, 2, shape).astype(np.int32)


STEPS = {"values": "BS", "advantages": "BS", "mask": "BS"}
STATES = dict(mask="probabilities", covers={"probabilities": ""}, draws={"probabilities": _probabilities})
# Tokens 0 and 1 are those of the target, so that prefixes of it occur.
TASK = {"draws": {"target": _target}, "sizes": {"L": 3, "V": 4}, "mask": None}
SMALL = {"vocab_size": 4, "eos": 3}

KERNELS = [
  Kernel(process.monte_carlo_values, {"outcomes": "BSR", "mask": "BSR"}, sizes={"R": 3}),
  Kernel(process.best_of_k_values, {"values": "BS", "mask": "BS"}),
  Kernel(process.progress, {"values": "BS", "initial_values": "B", "mask": "BS"}),
  Kernel(process.effective_rewards, STEPS),
  Kernel(
    process.token_weights,
    {"outcomes": "B", "advantages": "BS", "segment_ids": "BT", "mask": "BT", "baselines": "BT"},
  ),
  Kernel(process.first_pit, {"values": "BS", "mask": "BS"}, draws={"values": _labels}),
  Kernel(
    provers.prover_diagnostics,
    {"probabilities": "BV", "prover_advantages": "BV", "base_advantages": "BV"},
    **STATES,
  ),
  Kernel(
    provers.natural_policy_gradient,
    {"probabilities": "BV", "values": "BV", "advantages": "BV"},
    {"learning_rate": 0.5},
    **STATES,
  ),
  Kernel(beam.beam_select, STEPS, {"width": 2}),
  Kernel(planted_prover.match_transitions, {"target": "L"}, SMALL, **TASK),
  Kernel(planted_prover.prover_policy, {"target": "L"}, {"vocab_size": 4}, **TASK),
  Kernel(planted_prover.prover_values, {"target": "L"}, {**SMALL, "length": 5}, **TASK),
  Kernel(
    planted_prover.planted_values,
    {"tokens": "BT", "target": "L", "mask": "BT"},
    {**SMALL, "length": 5},
    zero_masked=False,  # the value of the bare prompt belongs to rows without tokens too
    **TASK | {"mask": "mask"},
  ),
]
