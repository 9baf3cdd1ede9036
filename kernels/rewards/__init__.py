"""Reward shaping: terms added to a reward before the advantage is computed."""

from rl_jax.kernels.rewards.attribution import owen, permutation_shapley, prefix_values, scar_rewards, shapley
from rl_jax.kernels.rewards.checklist import (
  ChecklistProgress,
  checklist_progress,
  checklist_trajectory_reward,
  checklist_turn_rewards,
  response_steps,
  turns_passed,
)
from rl_jax.kernels.rewards.goals import g4rl_high_level, g4rl_low_level
from rl_jax.kernels.rewards.implicit import ImplicitRewards, implicit_rewards, scale_to_unit_return
from rl_jax.kernels.rewards.information_gain import (
  CurriculumWeights,
  curriculum_weights,
  information_gain_rewards,
  log_beliefs,
)
from rl_jax.kernels.rewards.intrinsic import (
  Repeats,
  Retrieved,
  RewardStatistics,
  classified_rewards,
  newest,
  oni_rewards,
  ranked_rewards,
  repeat_factors,
  retrieved_rewards,
  similarity_rewards,
  update_statistics,
)
from rl_jax.kernels.rewards.judged_step import judged_step_reward
from rl_jax.kernels.rewards.length import difficulty_limits, overlong_penalty, truncation_reward
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
from rl_jax.kernels.rewards.ranking import EntropyRanking, entropy_ranking, length_bonus_reward
from rl_jax.kernels.rewards.scaling import ReturnStatistics, ScaledRewards, scale_rewards
from rl_jax.kernels.rewards.subgoals import subgoal_shaping
from rl_jax.kernels.rewards.tool_calls import fewest_calls, otc_reward
from rl_jax.kernels.rewards.unit_tests import (
  Outcome,
  UnitTestWeights,
  full_pass_outcome,
  unit_test_weights,
  weighted_passes,
)

__all__ = [
  "ChecklistProgress",
  "CurriculumWeights",
  "EntropyRanking",
  "FirstPit",
  "ImplicitRewards",
  "Outcome",
  "Repeats",
  "Retrieved",
  "RewardStatistics",
  "ReturnStatistics",
  "ScaledRewards",
  "UnitTestWeights",
  "best_of_k_values",
  "checklist_progress",
  "checklist_trajectory_reward",
  "checklist_turn_rewards",
  "classified_rewards",
  "curriculum_weights",
  "difficulty_limits",
  "effective_rewards",
  "entropy_ranking",
  "fewest_calls",
  "first_pit",
  "full_pass_outcome",
  "g4rl_high_level",
  "g4rl_low_level",
  "implicit_rewards",
  "information_gain_rewards",
  "judged_step_reward",
  "length_bonus_reward",
  "log_beliefs",
  "monte_carlo_values",
  "newest",
  "oni_rewards",
  "otc_reward",
  "overlong_penalty",
  "owen",
  "permutation_shapley",
  "potential_shaping",
  "prefix_values",
  "probe_accuracy",
  "probe_confidence",
  "progress",
  "ranked_rewards",
  "repeat_factors",
  "response_steps",
  "retrieved_rewards",
  "scale_rewards",
  "scale_to_unit_return",
  "scar_rewards",
  "shapley",
  "similarity_rewards",
  "step_potential",
  "subgoal_shaping",
  "token_weights",
  "truncation_reward",
  "turns_passed",
  "unit_test_weights",
  "update_statistics",
  "weighted_passes",
]
