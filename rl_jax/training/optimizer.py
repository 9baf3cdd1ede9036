"""The optimiser: AdamW with clipping, schedules, warm-up, a weight-decay mask, parameter averaging."""

from __future__ import annotations

from typing import Any

import jax
import optax

from rl_jax.training.errors import TrainingError

SCHEDULES = ("constant", "linear", "cosine")


def schedule(section, peak: float, updates: int) -> optax.Schedule:
  """Learning rate by update: linear warm-up over `warmup_updates`, then constant or down to `final_share` of the peak.

  Args:
    updates: those of the whole run.
  """
  if section.schedule not in SCHEDULES:
    raise TrainingError(f"optimizer.schedule is one of {', '.join(SCHEDULES)}, got {section.schedule!r}")
  warmup, final = section.warmup_updates, peak * section.final_share
  rest = max(updates - warmup, 1)
  after = {
    "constant": optax.constant_schedule(peak),
    "linear": optax.linear_schedule(peak, final, rest),
    "cosine": optax.cosine_decay_schedule(peak, rest, section.final_share),
  }[section.schedule]
  # The first update of a warm-up already moves: it takes 1/warmup of the peak.
  ramp = optax.linear_schedule(peak / max(warmup, 1), peak, max(warmup - 1, 1))
  return optax.join_schedules([ramp, after], [warmup]) if warmup else after


def decay_mask(params: Any, excluded: tuple[str, ...]) -> Any:
  """True where weight decay applies: parameters whose own name is not excluded."""
  return jax.tree_util.tree_map_with_path(lambda path, _: _name(path) not in excluded, params)


def _name(path) -> str:
  keys = [entry.key for entry in path if isinstance(entry, jax.tree_util.DictKey)]
  return keys[-1]


def make_optimizer(section, learning_rate: optax.Schedule) -> optax.GradientTransformation:
  """AdamW (arXiv 1711.05101) after clipping to a global norm, from a config's section `optimizer`."""
  clip = optax.clip_by_global_norm(section.max_gradient_norm) if section.max_gradient_norm else optax.identity()
  return optax.chain(
    clip,
    optax.adamw(
      learning_rate,
      b1=section.beta1,
      b2=section.beta2,
      eps=section.epsilon,
      weight_decay=section.weight_decay,
      mask=lambda params: decay_mask(params, tuple(section.no_weight_decay)),
    ),
  )
