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
    # Of the gap between trainer and sampler, old / behaviour: "none", or a preset of kernels/losses/off_policy.py,
    # several with "+", as "geometric_rs+token_tis".
    "correction": "none",
    "importance_sampling_cap": None,  # a number: of the correction's weights, or alone that of "token_tis"
    "rejection_bounds": None,  # two numbers: of the correction's rejection; (0, …) of "k3_rs", which is 0 without a gap
    "off_policy_threshold": None,  # a number: A < 0 is masked in rows whose mean log(behaviour / policy) is above it
  }


def correction(m: ConfigDict) -> Callable[[Trajectories, Bool[Array, "B T"]], Correction | None]:
  """The correction that `method.correction` names, or of a cap alone; gives None where neither is set.

  Raises: ValueError: a cap without weights; bounds without a rejection, in the wrong order, or other than two.
  """
  preset, cap, bounds = m.correction, m.importance_sampling_cap, m.rejection_bounds
  if bounds is not None and (not isinstance(bounds, tuple | list) or len(bounds) != 2 or "_rs" not in preset):
    raise ValueError(
      f"method.rejection_bounds={bounds!r}: give two, as (0.5, 2.0), to a rejection, as method.correction=sequence_rs"
    )
  if bounds is not None and not bounds[0] < bounds[1]:
    raise ValueError(f"method.rejection_bounds={bounds!r}: the first has to be below the second")
  if bounds is not None and "k3_rs" not in preset and not bounds[0] <= 1 <= bounds[1]:
    raise ValueError(f"method.rejection_bounds={bounds!r}: bounds of a ratio, which is 1 without a gap, have to hold 1")
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
