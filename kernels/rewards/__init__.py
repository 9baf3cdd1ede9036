"""Reward shaping: what is added to a reward before the advantage is taken."""

from rl_jax.kernels.rewards.attribution import owen, permutation_shapley, prefix_values, scar_rewards, shapley
from rl_jax.kernels.rewards.beam_search import Beam, beam_select
from rl_jax.kernels.rewards.checklist import (
  ChecklistProgress,
  checklist_progress,
  checklist_trajectory_reward,
  checklist_turn_rewards,
  response_steps,
  turns_passed,
)
from rl_jax.kernels.rewards.experts import (
  Routing,
  expert_rewards,
  fused_reward,
  last_hidden,
  lora,
  router,
  router_cross_entropy,
)
from rl_jax.kernels.rewards.graph_spectrum import laplacian_distance, laplacian_spectrum
from rl_jax.kernels.rewards.implicit import ImplicitRewards, implicit_rewards, scale_to_unit_return
from rl_jax.kernels.rewards.information_gain import (
  CurriculumWeights,
  curriculum_weights,
  information_gain_rewards,
  log_beliefs,
)
from rl_jax.kernels.rewards.judged_step import judged_step_reward
from rl_jax.kernels.rewards.length import difficulty_limits, overlong_penalty, truncation_reward
from rl_jax.kernels.rewards.planted_prover import (
  PlantedValues,
  match_transitions,
  planted_values,
  prover_policy,
  prover_values,
)
from rl_jax.kernels.rewards.potential import potential_shaping
from rl_jax.kernels.rewards.probes import probe_accuracy, probe_confidence, step_potential
from rl_jax.kernels.rewards.process import (
  FirstPit,
  best_of_k_values,
  effective_rewards,
  first_pit,
  monte_carlo_values,
  progress,
  token_weights,
)
from rl_jax.kernels.rewards.provers import ProverDiagnostics, natural_policy_gradient, prover_diagnostics
from rl_jax.kernels.rewards.ranking import EntropyRanking, entropy_ranking, length_bonus_reward
from rl_jax.kernels.rewards.state_graph import (
  Observation,
  StateGraph,
  TrainingDue,
  empty_graph,
  high_level_rewards,
  low_level_rewards,
  observe,
  reconstruction_loss,
  training_due,
)
from rl_jax.kernels.rewards.subgoals import subgoal_shaping
from rl_jax.kernels.rewards.unit_tests import (
  Outcome,
  UnitTestWeights,
  full_pass_outcome,
  unit_test_weights,
  weighted_passes,
)

__all__ = [
  "Beam",
  "ChecklistProgress",
  "CurriculumWeights",
  "EntropyRanking",
  "FirstPit",
  "ImplicitRewards",
  "Observation",
  "Outcome",
  "PlantedValues",
  "ProverDiagnostics",
  "Routing",
  "StateGraph",
  "TrainingDue",
  "UnitTestWeights",
  "beam_select",
  "best_of_k_values",
  "checklist_progress",
  "checklist_trajectory_reward",
  "checklist_turn_rewards",
  "curriculum_weights",
  "difficulty_limits",
  "effective_rewards",
  "empty_graph",
  "entropy_ranking",
  "expert_rewards",
  "first_pit",
  "full_pass_outcome",
  "fused_reward",
  "high_level_rewards",
  "implicit_rewards",
  "information_gain_rewards",
  "judged_step_reward",
  "laplacian_distance",
  "laplacian_spectrum",
  "last_hidden",
  "length_bonus_reward",
  "log_beliefs",
  "lora",
  "low_level_rewards",
  "match_transitions",
  "monte_carlo_values",
  "natural_policy_gradient",
  "observe",
  "overlong_penalty",
  "owen",
  "permutation_shapley",
  "planted_values",
  "potential_shaping",
  "prefix_values",
  "probe_accuracy",
  "probe_confidence",
  "progress",
  "prover_diagnostics",
  "prover_policy",
  "prover_values",
  "reconstruction_loss",
  "response_steps",
  "router",
  "router_cross_entropy",
  "scale_to_unit_return",
  "scar_rewards",
  "shapley",
  "step_potential",
  "subgoal_shaping",
  "token_weights",
  "training_due",
  "truncation_reward",
  "turns_passed",
  "unit_test_weights",
  "weighted_passes",
]
