"""Zero-sum games with one-sided information: beliefs revealed by the informed player's actions, and their value."""

from rl_jax.kernels.games.beliefs import Split, prototype_logprobs, split_belief, split_value
from rl_jax.kernels.games.convexity import Envelope, convex_envelope, exact_values
from rl_jax.kernels.games.dual import dual_backup, dual_terminal
from rl_jax.kernels.games.hexner import (
  Controls,
  hexner_controls,
  hexner_running_cost,
  hexner_step,
  hexner_terminal_costs,
)
from rl_jax.kernels.games.path_tree import Paths, kept_paths, moved_nodes, path_cost, public_paths

__all__ = [
  "Controls",
  "Envelope",
  "Paths",
  "Split",
  "convex_envelope",
  "dual_backup",
  "dual_terminal",
  "exact_values",
  "hexner_controls",
  "hexner_running_cost",
  "hexner_step",
  "hexner_terminal_costs",
  "kept_paths",
  "moved_nodes",
  "path_cost",
  "prototype_logprobs",
  "public_paths",
  "split_belief",
  "split_value",
]
