"""Which function comes from which paper, in the one table that kernels/README.md shows too."""

from __future__ import annotations

import importlib
from typing import NamedTuple

TABLE = (
  ("PPO", "1707.06347", "verified", "losses.policy_gradient losses.value_loss"),
  ("GAE", "1506.02438", "verified", "advantages.gae"),
  ("GRPO", "2402.03300", "verified", "advantages.grpo losses.kl"),
  ("Dr. GRPO", "2503.20783", "verified", 'advantages.dr_grpo reductions.aggregate(mode="sequence_mean_constant")'),
  ("RLOO", "2402.14740", "verified", 'advantages.rloo losses.policy_gradient(ratio="sequence_sum")'),
  ("REINFORCE++", "2501.03262", "verified", "advantages.reinforce_pp advantages.reinforce_pp_baseline"),
  ("ReMax", "2310.10505", "verified", "advantages.remax"),
  ("dual clip", "1912.09729", "verified", "losses.policy_gradient(dual_clip=3.0)"),
  (
    "DAPO",
    "2503.14476",
    "verified",
    "curricula.informative_groups rewards.overlong_penalty losses.policy_gradient(clip_high=0.28)",
  ),
  ("GSPO", "2507.18071", "verified", 'losses.policy_gradient(ratio="sequence")'),
  ("CISPO", "2506.13585", "verified", "losses.cispo"),
  ("GDPO", "2601.05242", "verified", "advantages.gdpo"),
  ("OPO", "2505.23585", "verified", "advantages.opo"),
  (
    "VAPO",
    "2504.05118",
    "second hand, clamp inferred",
    "advantages.length_adaptive_lambda losses.positive_example_nll",
  ),
  ("DPO", "2305.18290", "verified", "losses.dpo"),
  ("adaptive KL", "1909.08593", "verified", "losses.adaptive_kl_coefficient"),
  (
    "A-GRAE",
    "2602.05548",
    "verified, non-binary rewards inferred",
    "advantages.a_grae advantages.batch_success_rate advantages.sign_dominant advantages.difficulty_focused",
  ),
  (
    "CANON",
    "2509.23962",
    "verified",
    "advantages.canon advantages.mean_entropy advantages.upper_half advantages.mixing_by_accuracy "
    "advantages.mixing_by_cosine",
  ),
  (
    "COPO",
    "2508.04138",
    "code verified, paper second hand",
    "advantages.copo advantages.consistency_entropy advantages.consistency_factor advantages.between_prompts "
    "advantages.blend_weights losses.copo_loss",
  ),
  (
    "DVAO",
    "2605.25604",
    "second hand, ddof and eps inferred",
    "advantages.dvao advantages.reward_combination advantages.advantage_combination",
  ),
  (
    "DLER",
    "2510.15110",
    "verified, limits' boundary and merge scope inferred",
    "rewards.truncation_reward rewards.difficulty_limits analysis.update_selective_merge "
    "advantages.reinforce_pp_baseline curricula.informative_groups",
  ),
  (
    "ASPO",
    "2508.19201",
    "verified, bound for negative advantages inferred",
    "advantages.aspo advantages.early_tool_reward",
  ),
  (
    "ADORA",
    "2602.10019",
    "code verified, paper forms part inferred",
    "advantages.adora_weights advantages.adora_damping advantages.adora",
  ),
  (
    "VeRPO",
    "2601.03525",
    "second hand, defaults part inferred",
    "advantages.verpo advantages.degenerate_groups rewards.unit_test_weights rewards.weighted_passes "
    "rewards.full_pass_outcome",
  ),
  (
    "CM2 (preprint of February 2026, code CM2-RLCR-Tool-Agent)",
    "",
    "part inferred",
    "advantages.cm2_turn advantages.cm2_step rewards.checklist_progress "
    "rewards.checklist_turn_rewards rewards.checklist_trajectory_reward rewards.turns_passed rewards.response_steps",
  ),
  (
    "R3",
    "2601.19620",
    "verified, hyperparameters inferred",
    "advantages.r3_mixed rewards.length_bonus_reward rewards.entropy_ranking curricula.replay_slots "
    "curricula.needs_reflection",
  ),
  (
    "ADHint",
    "2512.13095",
    "second hand, forms part inferred",
    "advantages.adhint advantages.kind_weights advantages.hint_token_weights curricula.difficulty "
    "curricula.hint_ratio curricula.hint_lengths",
  ),
  (
    "V0",
    "2602.03584",
    "code",
    "losses.v0_loss losses.score_labels losses.prior_from_logits losses.query_pairs",
  ),
  (
    "V0.5",
    "2603.10848",
    "second hand",
    "advantages.v05 advantages.prior_baseline advantages.fuse_prior curricula.look_ahead_stopping "
    "curricula.expected_gain",
  ),
  (
    "SPO",
    "2505.23564",
    "code verified",
    "advantages.spo_chain advantages.probability_mask advantages.cutpoint_segments advantages.whiten_uncertain "
    "advantages.spo_tree advantages.tree_values losses.spo",
  ),
  (
    "SPAE",
    "2601.03823",
    "second hand, threshold inferred",
    "advantages.spae advantages.saturation_factors advantages.potential_gains advantages.exponential_shaping "
    "rewards.probe_confidence rewards.probe_accuracy rewards.step_potential",
  ),
  ("SALT", "2510.20022", "second hand", "advantages.salt"),
  (
    "HiPER",
    "2602.16165",
    "code verified",
    "advantages.hae advantages.segment_boundaries advantages.switch_gain advantages.switch_estimate "
    "advantages.hierarchy_on_tokens rewards.subgoal_shaping",
  ),
  (
    "IGPO",
    "2510.14967",
    "verified",
    "advantages.igpo advantages.normalize_turn_rewards rewards.log_beliefs rewards.information_gain_rewards "
    "rewards.curriculum_weights",
  ),
  (
    "SLATE",
    "2602.23440",
    "code verified, token ratios inferred",
    "advantages.slate advantages.commit_probabilities advantages.candidate_weights rewards.judged_step_reward",
  ),
  (
    "PAV",
    "2410.08146",
    "verified",
    "rewards.monte_carlo_values rewards.best_of_k_values rewards.progress rewards.effective_rewards "
    "rewards.token_weights rewards.first_pit analysis.prover_diagnostics analysis.natural_policy_gradient "
    "analysis.match_transitions analysis.prover_policy analysis.prover_values analysis.planted_values "
    "search.beam_select losses.binary_cross_entropy losses.class_balanced_weights",
  ),
  (
    "T-PPO",
    "2506.15050",
    "second hand, masks part inferred",
    "advantages.tppo advantages.extended_gae curricula.refill curricula.successive_batches "
    "curricula.synchronous_tokens",
  ),
  (
    "PRIME",
    "2502.01456",
    "verified",
    "advantages.prime advantages.process_reinforce advantages.process_grpo advantages.process_ppo "
    "advantages.process_value rewards.implicit_rewards rewards.scale_to_unit_return losses.binary_cross_entropy "
    "losses.detached_dpo losses.best_of_n_weights losses.pair_accuracy curricula.accuracy_filter",
  ),
  (
    "dense rewards",
    "2512.04302",
    "second hand, part inferred",
    "rewards.potential_shaping analysis.observe analysis.laplacian_spectrum analysis.laplacian_distance",
  ),
  (
    "SCAR",
    "2505.20417",
    "second hand, part inferred",
    "rewards.scar_rewards rewards.shapley rewards.owen rewards.permutation_shapley rewards.prefix_values",
  ),
  (
    "G4RL",
    "2511.10872",
    "second hand, part inferred",
    "analysis.empty_graph analysis.observe analysis.training_due analysis.reconstruction_loss "
    "rewards.g4rl_high_level rewards.g4rl_low_level",
  ),
  (
    "DMoERM",
    "2403.01197",
    "code verified",
    "losses.pairwise_ranking losses.ranking_consistency losses.best_of_n losses.swap_consistent_ranks "
    "layers.last_hidden layers.router layers.router_cross_entropy layers.lora layers.expert_rewards "
    "layers.fused_reward",
  ),
  ("LoRA", "2106.09685", "code verified", "layers.lora"),
  (
    "on-policy distillation",
    "2605.12483",
    "verified",
    "losses.forward_kl losses.reverse_kl losses.top_k_distillation advantages.opd advantages.opd_with_rewards",
  ),
  ("GKD", "2306.13649", "verified", "losses.generalized_jsd"),
  ("MiniLLM", "2306.08543", "verified", "advantages.minillm"),
  (
    "PDR",
    "2510.01123",
    "second hand, truncation rule inferred",
    "losses.cispo_with_imitation losses.pdr_loss search.refinement_calls search.token_budget "
    "search.top_drafts search.join_drafts",
  ),
  (
    "DUMP",
    "2504.09710",
    "verified",
    "curricula.update_bandit curricula.learnability curricula.upper_confidence_bounds curricula.source_probabilities",
  ),
  (
    "SIRI",
    "2509.25176",
    'verified, phase order of "stair" inferred',
    "curricula.length_limit curricula.truncate curricula.efficiency rewards.truncation_reward",
  ),
)
"""Paper, arXiv id, confidence, and its functions by the names they are called, options that make the method behind."""


class Paper(NamedTuple):
  """One function of one paper."""

  paper: str
  arxiv: str
  """Empty where there is none."""
  function: str
  """As it is called from rl_jax.kernels: "advantages.canon"; with the options that make it the paper's, if any."""
  file: str
  """Within the folder kernels."""
  confidence: str


def papers() -> list[Paper]:
  """Papers and their functions; a function of several papers comes once for each.

  >>> print([row.function for row in papers() if row.paper == "SALT"])
  ['advantages.salt']
  """
  return [
    Paper(paper, arxiv, function, _file(function), confidence)
    for paper, arxiv, confidence, functions in TABLE
    for function in functions.split()
  ]


def _file(function: str) -> str:
  family, name = function.partition("(")[0].split(".")
  module = getattr(importlib.import_module(f"rl_jax.kernels.{family}"), name).__module__
  return module.removeprefix("rl_jax.kernels.").replace(".", "/") + ".py"


def markdown() -> str:
  """The table of kernels/README.md: a row for each paper, its functions by the file they are in."""
  lines = ["| paper | functions | confidence |", "|---|---|---|"]
  for paper, arxiv, confidence, functions in TABLE:
    by_file: dict[str, list[str]] = {}
    for function in functions.split():
      by_file.setdefault(_file(function), []).append(f"`{function.partition('.')[2]}`")
    cells = [f"[{file}]({file}): {', '.join(names)}" for file, names in by_file.items()]
    name = f"{paper} [{arxiv}](https://arxiv.org/abs/{arxiv})" if arxiv else paper
    lines.append(f"| {name} | {'; '.join(cells)} | {confidence} |")
  return "\n".join(lines)
