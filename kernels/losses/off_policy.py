"""Corrections for rows that another policy sampled than the one that is trained: importance weights and masks.

A sampler differs from the trainer by its precision, by truncation, or as it is older. r_t = exp(old_t - behaviour_t) is
the ratio of the trainer's probability to the sampler's. Weights multiply losses; a rejection takes tokens out of the
loss, of its sum and of its count alike. Neither carries a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels._log_ratios import log_ratios
from rl_jax.kernels.losses.divergence import ESTIMATORS
from rl_jax.kernels.reductions import masked_mean, zero_masked

LEVELS = ("token", "sequence", "geometric")
BOUNDS = ("truncate", "mask")
STATISTICS = ("ratio", "k2", "k3")
OVER = ("token", "every", "sum", "mean")


def importance_weights(
  old_logprobs: Float[Array, "B T"],
  behaviour_logprobs: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  level: str = "token",
  bound: str = "truncate",
  low: float = 0.0,
  high: float = 2.0,
) -> Float[Array, "B T"]:
  """w_t = exp(old_t - behaviour_t) within bounds: corrects for a sampler that differs from the trainer.

  `level`: each token's own ratio; "sequence", the product over the row; "geometric", its |o|-th root. `bound`:
  "truncate", w is held within low and high (truncated importance sampling, Ionides 2008); "mask", w is 0 outside them
  (masked importance sampling; IcePop with 0.5 and 5). 0 in masked slots. Multiply the per-token losses by it, not the
  aggregation weights.

  >>> ratios = jnp.log(jnp.array([[0.5, 0.9]])), jnp.log(jnp.array([[0.4, 0.1]])), jnp.ones((1, 2))
  >>> print(importance_weights(*ratios).round(3), importance_weights(*ratios, bound="mask").round(3))
  [[1.25 2.  ]] [[1.25 0.  ]]
  """
  known_option("importance_weights", "level", level, LEVELS)
  known_option("importance_weights", "bound", bound, BOUNDS)
  differences = _differences("importance_weights", old_logprobs, behaviour_logprobs, mask)
  if level != "token":
    rows = masked_mean(differences, mask != 0, axis=1)
    row = rows.sum if level == "sequence" else rows.value
    differences = jnp.broadcast_to(row[:, None], differences.shape)
  ratios = jnp.exp(differences)
  if bound == "truncate":
    return zero_masked(jnp.clip(ratios, low, high), mask)
  return zero_masked(jnp.where((ratios >= low) & (ratios <= high), ratios, 0), mask)


def rejection_mask(
  old_logprobs: Float[Array, "B T"],
  behaviour_logprobs: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  statistic: str = "ratio",
  over: str = "mean",
  low: float = 0.0,
  high: float,
) -> Bool[Array, "B T"]:
  """Mask of the tokens to keep: those whose statistic, or whose row's, is within low and high.

  "When Speed Kills Stability" (Liu, Li et al. 2025), the form of verl's rollout correction. `statistic`: "ratio", r;
  "k2", (log r)^2 / 2; "k3", r - 1 - log r. `over`: "token", each its own; "every", rows all of whose tokens are within
  the bounds; "sum" and "mean" of the row, for a ratio of log r, so that "mean" bounds the geometric mean of r. log r is
  at most 20 within k3. Rows without tokens keep none.

  >>> old, behaviour = jnp.log(jnp.array([[0.5, 0.9], [0.5, 0.5]])), jnp.log(jnp.array([[0.4, 0.1], [0.4, 0.5]]))
  >>> print(rejection_mask(old, behaviour, jnp.ones((2, 2)), high=2.0))
  [[False False]
   [ True  True]]
  """
  known_option("rejection_mask", "statistic", statistic, STATISTICS)
  known_option("rejection_mask", "over", over, OVER)
  differences = _differences("rejection_mask", old_logprobs, behaviour_logprobs, mask)
  values = differences if statistic == "ratio" else zero_masked(ESTIMATORS[statistic](-differences), mask)
  if statistic == "ratio":
    low, high = math.log(low) if low > 0 else -math.inf, math.log(high)
  rows = masked_mean(values, mask != 0, axis=1)
  if over in ("sum", "mean"):
    values = jnp.broadcast_to((rows.sum if over == "sum" else rows.value)[:, None], values.shape)
  inside = (mask == 0) | ((values >= low) & (values <= high))
  if over == "every":
    inside = inside.all(axis=1, keepdims=True)
  return (mask != 0) & inside


def off_policy_mask(
  logprobs: Float[Array, "B T"],
  behaviour_logprobs: Float[Array, "B T"],
  advantages: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  threshold: float,
) -> Bool[Array, "B T"]:
  """Mask of the tokens to keep: all but those with A < 0 in rows with mean_t(behaviour_t - logp_t) > threshold.

  Off-policy sequence masking of DeepSeek-V3.2, arXiv 2512.02556, section 3.1: bad responses that the current policy,
  whose logprobs come first, would hardly write are left out. It depends on them, so it multiplies losses and not their
  weights, as in TRL and slime. No gradient.

  >>> old, now = jnp.array([[-1.0, -1.0], [-1.0, -1.0]]), jnp.array([[-2.0, -3.0], [-1.0, -1.0]])
  >>> print(off_policy_mask(now, old, -jnp.ones((2, 2)), jnp.ones((2, 2)), threshold=0.5))
  [[False False]
   [ True  True]]
  """
  same_shape("off_policy_mask", "B T", logprobs=logprobs, advantages=advantages)
  away = masked_mean(-_differences("off_policy_mask", logprobs, behaviour_logprobs, mask), mask != 0, axis=1).value
  return (mask != 0) & ((zero_masked(advantages, mask) >= 0) | (away <= threshold)[:, None])


def _differences(function, logprobs, behaviour_logprobs, mask):
  same_shape(function, "B T", logprobs=logprobs, behaviour_logprobs=behaviour_logprobs, mask=mask)
  return jax.lax.stop_gradient(log_ratios(logprobs, behaviour_logprobs, mask))


class Correction(NamedTuple):
  """Weights of losses, 1 where there are none, and the tokens that are kept; 0 and False in masked slots."""

  weights: Float[Array, "B T"]
  kept: Bool[Array, "B T"]


PRESETS: dict[str, tuple[Callable[..., Any], Mapping[str, Any]]] = {
  "token_tis": (importance_weights, {}),
  "sequence_tis": (importance_weights, {"level": "sequence"}),
  "token_mis": (importance_weights, {"bound": "mask"}),
  "sequence_mis": (importance_weights, {"level": "sequence", "bound": "mask"}),
  "icepop": (importance_weights, {"bound": "mask", "low": 0.5, "high": 5.0}),
  "token_rs": (rejection_mask, {"over": "token", "low": 0.5, "high": 2.0}),
  "sequence_rs": (rejection_mask, {"over": "sum", "low": 0.5, "high": 2.0}),
  "geometric_rs": (rejection_mask, {"low": 0.999, "high": 1.001}),
  "k3_rs": (rejection_mask, {"statistic": "k3", "high": 0.01}),
  "outlier_rs": (rejection_mask, {"over": "every", "low": 1e-4, "high": 100.0}),
}
"""Weights ("tis" truncated, "mis" masked) and rejections ("rs") by name, with the trainers' bounds."""


def sampler_correction(
  old_logprobs: Float[Array, "B T"],
  behaviour_logprobs: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  preset: str = "token_tis",
  cap: float | None = None,
  bounds: tuple[float, float] | None = None,
) -> Correction:
  """The weights and the mask of a preset: a name of `PRESETS`, or several with "+", as "geometric_rs+token_tis".

  One of them may have weights, since two would count the ratio twice; what any rejection refuses is refused. `cap`
  replaces the upper bound of the weights, `bounds` both of the rejections.

  >>> ratios = jnp.log(jnp.array([[0.5, 0.9]])), jnp.log(jnp.array([[0.4, 0.1]])), jnp.ones((1, 2))
  >>> correction = sampler_correction(*ratios, preset="token_rs+token_tis", cap=3.0)
  >>> print(correction.weights.round(2), correction.kept)
  [[1.25 3.  ]] [[ True False]]
  """
  correction = Correction(zero_masked(jnp.ones_like(old_logprobs), mask), mask != 0)
  for function, options in _parts(preset):
    logprobs = (old_logprobs, behaviour_logprobs, mask)
    if function is importance_weights:
      high = {} if cap is None else {"high": cap}
      correction = correction._replace(weights=function(*logprobs, **{**options, **high}))
    else:
      own = {} if bounds is None else dict(zip(("low", "high"), bounds, strict=True))
      correction = correction._replace(kept=correction.kept & function(*logprobs, **{**options, **own}))
  return correction


def _parts(preset: str) -> list[tuple[Callable[..., Any], Mapping[str, Any]]]:
  """Functions and options of the names in a preset."""
  names = preset.split("+")
  if "" in names:
    raise ValueError(f"sampler_correction: preset={preset!r}: want names joined by single '+', as 'k3_rs+token_tis'")
  for name in names:
    known_option("sampler_correction", "preset", name, PRESETS)
  weights = [name for name in names if PRESETS[name][0] is importance_weights]
  if len(weights) > 1:
    raise ValueError(
      f"sampler_correction: preset={preset!r}: {' and '.join(weights)} would count the ratio twice: name one of them"
    )
  return [PRESETS[name] for name in names]
