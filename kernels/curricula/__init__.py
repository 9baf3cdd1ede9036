"""Curriculum mathematics: which prompts and groups are worth training on."""

from rl_jax.kernels.curricula.bandit import (
  Bandit,
  learnability,
  source_probabilities,
  update_bandit,
  upper_confidence_bounds,
)
from rl_jax.kernels.curricula.batching import Schedule, Slots, refill, successive_batches, synchronous_tokens
from rl_jax.kernels.curricula.filters import accuracy_filter, informative_groups
from rl_jax.kernels.curricula.hints import difficulty, hint_lengths, hint_ratio
from rl_jax.kernels.curricula.hybrid import HybridRows, hybrid_rows
from rl_jax.kernels.curricula.length_schedule import LengthLimit, efficiency, length_limit, truncate
from rl_jax.kernels.curricula.mixture import (
  BatchSchedule,
  Rebalanced,
  Stage,
  allocate_batch,
  batch_schedule,
  rebalance,
  stage_at,
)
from rl_jax.kernels.curricula.replay import ReplaySlots, needs_reflection, replay_slots
from rl_jax.kernels.curricula.stopping import (
  SampleAllocation,
  Stopping,
  expected_gain,
  look_ahead_allocation,
  look_ahead_stopping,
)

__all__ = [
  "SampleAllocation",
  "Bandit",
  "HybridRows",
  "BatchSchedule",
  "LengthLimit",
  "Rebalanced",
  "ReplaySlots",
  "Schedule",
  "Slots",
  "Stage",
  "Stopping",
  "accuracy_filter",
  "allocate_batch",
  "batch_schedule",
  "difficulty",
  "efficiency",
  "expected_gain",
  "hint_lengths",
  "hint_ratio",
  "hybrid_rows",
  "informative_groups",
  "learnability",
  "length_limit",
  "look_ahead_allocation",
  "look_ahead_stopping",
  "needs_reflection",
  "rebalance",
  "refill",
  "replay_slots",
  "source_probabilities",
  "stage_at",
  "successive_batches",
  "synchronous_tokens",
  "truncate",
  "update_bandit",
  "upper_confidence_bounds",
]
