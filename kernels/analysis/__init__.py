"""Analysis of policies, environments and parameters, beside the training loop."""

from rl_jax.kernels.analysis.agreement import average_ranks, correlation, rank_correlation, sign_agreement, unexplained
from rl_jax.kernels.analysis.graph_spectrum import laplacian_distance, laplacian_spectrum
from rl_jax.kernels.analysis.merging import update_selective_merge
from rl_jax.kernels.analysis.planted_prover import (
  PlantedValues,
  match_transitions,
  planted_values,
  prover_policy,
  prover_values,
)
from rl_jax.kernels.analysis.provers import ProverDiagnostics, natural_policy_gradient, prover_diagnostics
from rl_jax.kernels.analysis.scaling_laws import (
  CapabilityDensity,
  DensityTrend,
  LossLaw,
  ScoreLaw,
  capability_density,
  combined_doubling_time,
  density_trend,
  scaling_loss,
  score_from_loss,
)
from rl_jax.kernels.analysis.state_graph import (
  Observation,
  StateGraph,
  TrainingDue,
  empty_graph,
  observe,
  reconstruction_loss,
  training_due,
)
from rl_jax.kernels.analysis.universal import (
  UniversalCombination,
  WealthStatistics,
  buy_and_hold,
  component_payoffs,
  prefer,
  universal_combination,
  wealth_statistics,
)

__all__ = [
  "CapabilityDensity",
  "DensityTrend",
  "LossLaw",
  "Observation",
  "PlantedValues",
  "ProverDiagnostics",
  "ScoreLaw",
  "StateGraph",
  "TrainingDue",
  "UniversalCombination",
  "WealthStatistics",
  "average_ranks",
  "buy_and_hold",
  "capability_density",
  "combined_doubling_time",
  "component_payoffs",
  "correlation",
  "density_trend",
  "empty_graph",
  "laplacian_distance",
  "laplacian_spectrum",
  "match_transitions",
  "natural_policy_gradient",
  "observe",
  "planted_values",
  "prefer",
  "prover_diagnostics",
  "prover_policy",
  "prover_values",
  "rank_correlation",
  "reconstruction_loss",
  "scaling_loss",
  "score_from_loss",
  "sign_agreement",
  "training_due",
  "unexplained",
  "universal_combination",
  "update_selective_merge",
  "wealth_statistics",
]
