"""Advantage estimators, one file per family."""

from rl_jax.kernels.advantages.anchor import AnchorAdvantages, gigpo
from rl_jax.kernels.advantages.best_of_k import pass_at_k
from rl_jax.kernels.advantages.candidates import candidate_weights, commit_probabilities, slate
from rl_jax.kernels.advantages.checklist import StepAdvantages, cm2_step, cm2_turn
from rl_jax.kernels.advantages.conditional import (
  ConditionalAdvantages,
  canon,
  mean_entropy,
  mixing_by_accuracy,
  mixing_by_cosine,
  upper_half,
)
from rl_jax.kernels.advantages.consistency import (
  ConsistencyAdvantages,
  between_prompts,
  blend_weights,
  consistency_entropy,
  consistency_factor,
  copo,
)
from rl_jax.kernels.advantages.difficulty import a_grae, batch_success_rate, difficulty_focused, sign_dominant
from rl_jax.kernels.advantages.distillation import minillm, opd, opd_with_rewards
from rl_jax.kernels.advantages.graph import EdgeAdvantages, salt
from rl_jax.kernels.advantages.group import (
  dr_grpo,
  gdpo,
  gpg,
  grpo,
  maxrl,
  opo,
  reinforce_pp_baseline,
  remax,
  rloo,
)
from rl_jax.kernels.advantages.hierarchy import (
  HAE,
  TokenAdvantages,
  hae,
  hierarchy_on_tokens,
  segment_boundaries,
  switch_estimate,
  switch_gain,
)
from rl_jax.kernels.advantages.hints import KindWeights, adhint, hint_token_weights, kind_weights
from rl_jax.kernels.advantages.multi_reward import (
  VarianceAdaptive,
  advantage_combination,
  dvao,
  reward_combination,
  scalarized_advantages,
)
from rl_jax.kernels.advantages.off_policy import VTrace, vtrace
from rl_jax.kernels.advantages.outcome import VeRPO, degenerate_groups, verpo
from rl_jax.kernels.advantages.prior import Fusion, fuse_prior, prior_baseline, v05
from rl_jax.kernels.advantages.process import (
  ProcessAdvantages,
  prime,
  process_grpo,
  process_ppo,
  process_reinforce,
  process_value,
)
from rl_jax.kernels.advantages.replay import r3_mixed
from rl_jax.kernels.advantages.returns import (
  GAE,
  TurnGAE,
  bi_level_gae,
  gae,
  length_adaptive_lambda,
  reinforce_pp,
  turn_gae,
)
from rl_jax.kernels.advantages.reweighting import adora, adora_damping, adora_weights
from rl_jax.kernels.advantages.role import RAE, rae
from rl_jax.kernels.advantages.segment import (
  ChainAdvantages,
  Segments,
  cutpoint_segments,
  probability_mask,
  spo_chain,
  whiten_uncertain,
)
from rl_jax.kernels.advantages.shaping import ShapedAdvantages, aspo, early_tool_reward
from rl_jax.kernels.advantages.step import exponential_shaping, potential_gains, saturation_factors, spae
from rl_jax.kernels.advantages.token_baseline import optimal_token_baseline
from rl_jax.kernels.advantages.tree import TreeAdvantages, spo_tree, tree_values
from rl_jax.kernels.advantages.truncated import TruncatedEstimate, extended_gae, tppo
from rl_jax.kernels.advantages.turn import igpo, mt_grpo, normalize_turn_rewards

__all__ = [
  "AnchorAdvantages",
  "ChainAdvantages",
  "ConditionalAdvantages",
  "ConsistencyAdvantages",
  "EdgeAdvantages",
  "Fusion",
  "GAE",
  "HAE",
  "KindWeights",
  "ProcessAdvantages",
  "RAE",
  "Segments",
  "ShapedAdvantages",
  "StepAdvantages",
  "TokenAdvantages",
  "TreeAdvantages",
  "TruncatedEstimate",
  "TurnGAE",
  "VTrace",
  "VarianceAdaptive",
  "VeRPO",
  "a_grae",
  "adhint",
  "adora",
  "adora_damping",
  "adora_weights",
  "advantage_combination",
  "aspo",
  "batch_success_rate",
  "between_prompts",
  "bi_level_gae",
  "blend_weights",
  "candidate_weights",
  "canon",
  "cm2_step",
  "cm2_turn",
  "commit_probabilities",
  "consistency_entropy",
  "consistency_factor",
  "copo",
  "cutpoint_segments",
  "degenerate_groups",
  "difficulty_focused",
  "dr_grpo",
  "dvao",
  "early_tool_reward",
  "exponential_shaping",
  "extended_gae",
  "fuse_prior",
  "gae",
  "gdpo",
  "gigpo",
  "gpg",
  "grpo",
  "hae",
  "hierarchy_on_tokens",
  "hint_token_weights",
  "igpo",
  "kind_weights",
  "length_adaptive_lambda",
  "maxrl",
  "mean_entropy",
  "minillm",
  "mixing_by_accuracy",
  "mixing_by_cosine",
  "mt_grpo",
  "normalize_turn_rewards",
  "opd",
  "opd_with_rewards",
  "opo",
  "optimal_token_baseline",
  "pass_at_k",
  "potential_gains",
  "prime",
  "prior_baseline",
  "probability_mask",
  "process_grpo",
  "process_ppo",
  "process_reinforce",
  "process_value",
  "r3_mixed",
  "rae",
  "reinforce_pp",
  "reinforce_pp_baseline",
  "remax",
  "reward_combination",
  "rloo",
  "salt",
  "saturation_factors",
  "scalarized_advantages",
  "segment_boundaries",
  "sign_dominant",
  "slate",
  "spae",
  "spo_chain",
  "spo_tree",
  "switch_estimate",
  "switch_gain",
  "tppo",
  "tree_values",
  "turn_gae",
  "upper_half",
  "v05",
  "verpo",
  "vtrace",
  "whiten_uncertain",
]
