"""Several objectives: fronts of policies, their quality, and updates that move along them."""

from rl_jax.kernels.pareto.constrained import Barrier, importance_weighted_returns, log_barrier, ratio_barrier
from rl_jax.kernels.pareto.front import SelectedMembers, crowding_distances, pareto_front, select_isolated
from rl_jax.kernels.pareto.quality import (
  Assignment,
  assign_policies,
  expected_utility,
  hypervolume,
  simplex_grid,
  sparsity,
)

__all__ = [
  "Assignment",
  "Barrier",
  "SelectedMembers",
  "assign_policies",
  "crowding_distances",
  "expected_utility",
  "hypervolume",
  "importance_weighted_returns",
  "log_barrier",
  "pareto_front",
  "ratio_barrier",
  "select_isolated",
  "simplex_grid",
  "sparsity",
]
