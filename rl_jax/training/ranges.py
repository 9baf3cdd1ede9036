"""Ranges of the numbers common to all runs, by section. Methods, tasks and models check their own."""

from __future__ import annotations

from ml_collections import ConfigDict

from rl_jax.errors import UserError
from rl_jax.inputs import ranges
from rl_jax.inputs.ranges import COUNT, DECAY, NOT_NEGATIVE, POSITIVE, SEED, SHARE, WHOLE, Range

RANGES: dict[str, dict[str, Range]] = {
  "": {
    "seed": SEED,
    "num_seeds": COUNT,
    "num_iterations": COUNT,
    "num_tokens": Range(1, 2**63 - 1, whole=True, or_none=True),
    "prompts_per_iteration": COUNT,
    "completions_per_prompt": COUNT,
    "epochs": COUNT,
    "minibatches_per_epoch": COUNT,
    "rows_per_microbatch": WHOLE.optional(),
    "length_buckets": COUNT,
    "staleness": Range(0, 64, whole=True),  # each costs a copy of the parameters
    "learning_rate": NOT_NEGATIVE,  # at 0 nothing moves, a control
    "learning_rates": POSITIVE,
  },
  "optimizer": {
    "final_share": SHARE,
    "warmup_updates": WHOLE,
    "beta1": DECAY,
    "beta2": DECAY,
    "epsilon": POSITIVE,
    "weight_decay": NOT_NEGATIVE,
    "max_gradient_norm": NOT_NEGATIVE,
    "parameter_average": DECAY,
    "max_skipped_updates": COUNT,
  },
  "sampling": {
    "temperature": POSITIVE,
    "top_k": WHOLE,
    "top_p": Range(0, 1, above=True),
    "min_p": SHARE,
    "agreement": NOT_NEGATIVE,
  },
  "evaluation": {
    "every_iterations": WHOLE,
    "prompts": COUNT,
    "prompts_seed": SEED,
    "prompts_at_a_time": COUNT.optional(),
    "prompt_blocks": WHOLE,
    "samples_per_prompt": COUNT,
    "pass_at": COUNT,
    "credit_prompts": WHOLE,
    "credit_samples": COUNT,
  },
  "checkpoint": {"every_iterations": WHOLE, "keep": COUNT, "keep_best": WHOLE},
  "logging": {"every_iterations": COUNT, "samples": WHOLE, "profile_iteration": WHOLE.optional()},
}


def check(config: ConfigDict) -> None:
  """Raise UserError for a number of a config that is out of its range."""
  ranges.check_finite(config.to_dict())
  for section, of_section in RANGES.items():
    ranges.check(section, config[section] if section else config, of_section)
  last = config.seed + config.num_seeds - 1
  if not SEED.holds(last):
    raise UserError(
      f"seed={config.seed}: the last of num_seeds={config.num_seeds} would be {last}, want at most {SEED.high}"
    )
