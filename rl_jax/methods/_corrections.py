"""Corrections for a sampler that differs from the trainer, from a config's section `method`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Bool
from ml_collections import ConfigDict

from rl_jax.kernels.losses.off_policy import Correction, sampler_correction
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """No correction."""
  return {
    # Correction of the mismatch between trainer and sampler, old / behaviour: "none", or a preset of
    # kernels/losses/off_policy.py; several are joined by "+", as in "geometric_rs+token_tis".
    "correction": "none",
    "importance_sampling_cap": None,  # cap of the correction's weights; without a correction, that of "token_tis"
    "rejection_bounds": None,  # two bounds of the correction's rejection; (0, …) for "k3_rs", which is 0 at no mismatch
    "off_policy_threshold": None,  # A < 0 is masked in rows whose mean log(behaviour / policy) exceeds this number
  }


def correction(m: ConfigDict) -> Callable[[Trajectories, Bool[Array, "B T"]], Correction | None]:
  """The correction that `method.correction` names, or the one of a cap alone; returns None if neither is set.

  Raises: ValueError: a cap comes without weights; the bounds come without a rejection, in the wrong order, or are not
    two.
  """
  preset, cap, bounds = m.correction, m.importance_sampling_cap, m.rejection_bounds
  if bounds is not None and (not isinstance(bounds, tuple | list) or len(bounds) != 2 or "_rs" not in preset):
    raise ValueError(
      f"method.rejection_bounds={bounds!r}: want two numbers, as (0.5, 2.0), and a rejection, as "
      "method.correction=sequence_rs"
    )
  if bounds is not None and not bounds[0] < bounds[1]:
    raise ValueError(f"method.rejection_bounds={bounds!r}: the first must be below the second")
  if bounds is not None and "k3_rs" not in preset and not bounds[0] <= 1 <= bounds[1]:
    raise ValueError(f"method.rejection_bounds={bounds!r}: the ratio is 1 at no mismatch, so the bounds must include 1")
  if cap is not None and all(name.endswith("_rs") for name in preset.split("+")):
    raise ValueError(
      f"method.importance_sampling_cap={cap!r}: method.correction={preset!r} has no weights to cap: add +token_tis"
    )
  if preset == "none" and cap is None:
    return lambda trajectories, mask: None
  options: dict[str, Any] = {"preset": "token_tis" if preset == "none" else preset, "cap": cap, "bounds": bounds}
  return lambda trajectories, mask: sampler_correction(
    trajectories.old_logprobs, trajectories.behaviour_logprobs, mask, **options
  )
