"""Ranges of the numbers in a config's section `method`, method by method, and methods that compare answers."""

from __future__ import annotations

from ml_collections import ConfigDict

from rl_jax import ranges
from rl_jax.ranges import COUNT, FINITE, NOT_NEGATIVE, POSITIVE, SHARE, WHOLE, Range

_PACKAGE = "rl_jax.methods."
_MOST = 1e6
"""Of ratios and lengths. Beyond it something else was meant."""

FAMILY = {
  "clip_low": Range(0, _MOST).optional(),
  "clip_high": Range(0, _MOST).optional(),
  "dual_clip": Range(1, _MOST, above=True).optional(),
  "aggregation_constant": Range(0, _MOST, above=True).optional(),
  "kl_coefficient": NOT_NEGATIVE,
  "entropy_coefficient": FINITE,  # below 0 entropy costs
  "importance_sampling_cap": Range(0, _MOST, above=True).optional(),
}
"""Of `policy_gradient.get_config`, which methods of users build on too."""

_GROUPS = {"ddof": Range(0, 1, whole=True), "epsilon": NOT_NEGATIVE}
_SPO = {"threshold": SHARE, "clip_range": NOT_NEGATIVE, "max_ratio": POSITIVE}
_CRITIC = {
  "discount": SHARE,
  "lam": SHARE,
  "value_coefficient": NOT_NEGATIVE,
  "value_clip": NOT_NEGATIVE,
  "critic_learning_rate": NOT_NEGATIVE.optional(),
}

RANGES = {
  "grpo": _GROUPS,
  "dapo": _GROUPS
  | {
    "max_rounds": COUNT,
    "reward_scale": POSITIVE,
    "overlong_factor": NOT_NEGATIVE,
    "overlong_share": Range(0, 1, above=True),
  },
  "dump": _GROUPS | {"window": COUNT, "tau": NOT_NEGATIVE, "exploration": NOT_NEGATIVE},
  "igpo": {"discount": SHARE, "curriculum_iterations": COUNT.optional()},
  "oracle": {"completions": COUNT, "max_steps": COUNT},
  "ppo": _CRITIC,
  "prime": {
    "beta": POSITIVE,
    "discount": SHARE,
    "outcome_discount": SHARE,
    "unit_return_epsilon": NOT_NEGATIVE,
    "rounding": NOT_NEGATIVE,
    "prm_learning_rate": NOT_NEGATIVE.optional(),
    "lowest_accuracy": SHARE,
    "highest_accuracy": SHARE,
    "max_rounds": COUNT,
  },
  "spae": {
    "alpha": SHARE,
    "xi": NOT_NEGATIVE,
    "threshold": SHARE,
    "max_steps": COUNT,
    "probe_samples": COUNT,
    "probe_tokens": COUNT,
  },
  "spo_chain": _SPO | {"interval": COUNT, "completions_per_cut": COUNT, "max_segments": COUNT.optional()},
  "spo_tree": _SPO
  | {
    "branching": COUNT,
    "segment_tokens": COUNT,
    "edges_per_prompt": COUNT.optional(),
    "replay_age": COUNT,
    "replay_capacity": COUNT.optional(),
  },
  "tppo": _CRITIC | {"window_tokens": COUNT.optional(), "critic_warmup_iterations": WHOLE},
}
"""By method of this package; their other options are words."""

COMPARE_ANSWERS = {"grpo": {}, "dr_grpo": {}, "dapo": {}, "dump": {}, "rloo": {"singleton": "zero"},
  "spae": {"uninformative_groups": "drop"}}  # fmt: skip
"""Methods, with the options of that form, whose advantages are all 0 where each prompt has one answer."""


def check_options(config: ConfigDict) -> None:
  """Raise UserError for a number of the method's section that is out of its range; ValueError for groups of one answer,
  of which a method that compares answers learns nothing."""
  options, name = config.method, config.method.get("name", "")
  path = name if isinstance(name, str) else getattr(name, "__name__", "")  # a notebook may give the module
  own = path.removeprefix(_PACKAGE) if path.startswith(_PACKAGE) else ""
  if set(FAMILY) <= set(options):
    ranges.check("method", options, FAMILY)
  ranges.check("method", options, RANGES.get(own, {}))
  compares = own in COMPARE_ANSWERS and COMPARE_ANSWERS[own].items() <= options.to_dict().items()
  if compares and config.completions_per_prompt < 2:
    raise ValueError(
      "completions_per_prompt=1: its advantages compare the answers to a prompt, and those of a single one are all 0: "
      "take at least 2"
    )
