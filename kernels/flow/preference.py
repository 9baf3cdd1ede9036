"""Preferences between two samples of a flow that share layout and differ in segments: DenseDPO.

arXiv 2506.03517. Clips are [B T D] with T frames. A frame's score is how much worse than the reference the policy
predicts its velocity, so lower is better. Segments [B S] of both clips are aligned and labelled: 1, the first clip is
better; -1, the second is; 0, a tie. `segments.segment_sum` gives scores of segments and `segment_lengths` their numbers
of frames, from ids that assign frames to segments of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.losses.preference import PreferenceLoss, dpo
from rl_jax.kernels.reductions import Mean, masked_mean, widen, zero_masked


class DenseLoss(NamedTuple):
  """Per-pair losses and the weights to average them by: 0 for a pair with only ties; 0 in masked pairs."""

  losses: Float[Array, " B"]
  weights: Float[Array, " B"]


class GuidedSamples(NamedTuple):
  """Denoised samples, their starting points, and their numbers of steps."""

  samples: Float[Array, "B *T"]
  starts: Float[Array, "B *T"]
  steps: Int[Array, " B"]


def frame_scores(
  velocities: Float[Array, "B T D"],
  ref_velocities: Float[Array, "B T D"],
  x0: Float[Array, "B T D"],
  noise: Float[Array, "B T D"],
  mask: Num[Array, "B T"],
  *,
  pool: str = "mean",
) -> Float[Array, "B T"]:
  """s = |u - v|^2 - |u - v_ref|^2, u = eps - x_0, over the dimensions of a frame: lower is better, 0 at the reference.

  Flow-DPO, equation 4 of arXiv 2506.03517. `pool` "mean" or "sum" over dimensions: the paper does not say which belongs
  to its beta of 500. The clips of a pair share a time t, drawn logit-normal, but not the noise; with shared noise the
  worse clip's gradient dominates where they are alike. No gradient into the reference.

  >>> ones = jnp.ones((1, 1, 2))
  >>> print(frame_scores(ones, 3 * ones, 0 * ones, 2 * ones, jnp.ones((1, 1)), pool="sum"))
  [[0.]]
  """
  known_option("frame_scores", "pool", pool, ("mean", "sum"))
  arrays = dict(velocities=velocities, ref_velocities=ref_velocities, x0=x0, noise=noise)
  same_shape("frame_scores", "B T D", **arrays)
  velocities, ref_velocities, x0, noise = (zero_masked(x, mask[..., None]) for x in arrays.values())
  target, ref_velocities = jax.lax.stop_gradient((noise - x0, ref_velocities))
  apart = jnp.square(target - velocities) - jnp.square(target - ref_velocities)
  return apart.mean(axis=-1) if pool == "mean" else apart.sum(axis=-1)


def flow_dpo(
  first_scores: Float[Array, " B"],
  second_scores: Float[Array, " B"],
  labels: Num[Array, " B"],
  mask: Num[Array, " B"],
  *,
  beta: float = 500.0,
) -> PreferenceLoss:
  """-log sigmoid(-beta l (s_1 - s_2)): one label l for two clips; margin 0 and loss log 2 if l is 0.

  Equation 5 of arXiv 2506.03517, VanillaDPO or, on guided pairs, StructuralDPO: scores of whole clips, pooled over
  frames. The code of Flow-GRPO and Flow-Factory has beta / 2. Diffusion-DPO is this with beta T omega(t) and errors of
  predicted noise. It is `losses.dpo` with -s as log ratios.

  >>> print(flow_dpo(jnp.array([-0.01]), jnp.array([0.02]), jnp.array([1]), jnp.ones(1), beta=100.0).margins)
  [3.]
  """
  same_shape("flow_dpo", "B", first_scores=first_scores, second_scores=second_scores, labels=labels, mask=mask)
  labels, reference = zero_masked(labels, mask), jnp.zeros(mask.shape)
  chosen, rejected = (-labels * zero_masked(scores, mask) for scores in (first_scores, second_scores))
  return dpo(chosen, rejected, reference, reference, mask != 0, beta=beta)


def dense_dpo(
  first_scores: Float[Array, "B S"],
  second_scores: Float[Array, "B S"],
  labels: Int[Array, "B S"],
  lengths: Num[Array, "B S"],
  mask: Num[Array, "B S"],
  *,
  beta: float = 500.0,
  normalization: str = "mean",
) -> DenseLoss:
  """-log sigmoid(-beta sum_f l_f (s_1f - s_2f) / n): one sigmoid for a pair, ties add nothing.

  DenseDPO, equation 7 of arXiv 2506.03517. s_f is the sum of the scores of a segment's frames, `lengths` their number.
  The appendix describes `normalization` only in words, so the forms are inferred. "mean": n is the number of frames
  that are not ties, and with one segment this is `flow_dpo` of means; "sum": n = 1, exactly equation 7; "per_segment":
  the mean over the F segments that are not ties of -log sigmoid(-beta l_f (mean s_1f - mean s_2f)). For language models
  (our transfer), scores are minus the sum of a segment's log ratios to the reference. All ties: loss 0, weight 0.

  >>> first, second = jnp.array([[-0.02, 0.01, 0.03]]), jnp.array([[0.01, 0.02, -0.02]])
  >>> loss = dense_dpo(first, second, jnp.array([[1, 0, -1]]), jnp.ones((1, 3)), jnp.ones((1, 3)), beta=20.0)
  >>> print(f"{loss.losses[0]:.3f}", loss.weights)
  0.371 [1.]
  """
  known_option("dense_dpo", "normalization", normalization, ("mean", "sum", "per_segment"))
  arrays = dict(first_scores=first_scores, second_scores=second_scores, labels=labels, lengths=lengths)
  same_shape("dense_dpo", "B S", **arrays, mask=mask)
  first, second, labels, lengths = (zero_masked(x, mask) for x in arrays.values())
  decided = labels != 0
  signed = jnp.sign(labels) * (first - second)
  if normalization == "per_segment":
    losses = -jax.nn.log_sigmoid(-beta * Mean(signed, lengths).value)
    losses = masked_mean(losses, decided, axis=1).value
  else:
    frames = jnp.where(decided, lengths, 0).sum(axis=1)
    total = signed.sum(axis=1)
    losses = -jax.nn.log_sigmoid(-beta * (Mean(total, frames).value if normalization == "mean" else total))
  weights = decided.any(axis=1)
  return DenseLoss(zero_masked(losses, weights), weights.astype(losses.dtype))


def majority_labels(labels: Int[Array, "B S"], mask: Num[Array, "B S"]) -> Int[Array, " B"]:
  """sign(sum_f l_f): a clip's label from those of its segments, 0 for a tie.

  arXiv 2506.03517. If a judge is asked twice, `losses.swap_consistent_ranks` keeps consistent answers; the rest are
  ties. Clips with at most 20 % of their segments decided are not sampled.

  >>> print(majority_labels(jnp.array([[1, 0, 1, -1], [1, -1, 0, 0]]), jnp.ones((2, 4))))
  [1 0]
  """
  same_shape("majority_labels", "B S", labels=labels, mask=mask)
  return jnp.sign(jnp.where(mask != 0, labels, 0).sum(axis=1)).astype(jnp.int32)


def guided_samples(
  velocity: Callable[[Array, Array], Array],
  x0: Float[Array, "B *T"],
  noise: Float[Array, "B *T"],
  strength: Float[Array, " B"],
  *,
  steps: int = 40,
) -> GuidedSamples:
  """Denoise (1 - eta) x_0 + eta eps in round(eta N) Euler steps of 1 / N: half of a pair that shares its layout.

  Algorithm 2 of arXiv 2506.03517, except that its last line adds, while its target eps - x_0 requires subtraction:
  x_{i-1} = x_i - v(x_i, i / N) / N. Two noises with one strength eta, uniform between 0.65 and 0.8, make a pair.
  `velocity` maps points [B *T] and times [B] to velocities. `round` rounds halves to even.

  >>> x0, noise = jnp.zeros((1, 2)), jnp.ones((1, 2))
  >>> print(guided_samples(lambda x, t: noise - x0, x0, noise, jnp.array([0.5]), steps=4).samples)
  [[0. 0.]]
  """
  if x0.shape != noise.shape or strength.shape != x0.shape[:1]:
    raise ValueError(
      f"guided_samples: expected x0 and noise [B ...] and strength [B], got {x0.shape}, {noise.shape}, {strength.shape}"
    )
  strength = widen(strength)
  count = jnp.round(strength * steps).astype(jnp.int32)
  by_row = lambda x: x.reshape(x.shape + (1,) * (x0.ndim - 1))
  starts = (1 - by_row(strength)) * widen(x0) + by_row(strength) * widen(noise)

  def step(x, i):
    moved = x - velocity(x, jnp.full(strength.shape, i / steps, x.dtype)) / steps
    return jnp.where(by_row(i <= count), moved, x), None

  samples = jax.lax.scan(step, starts, jnp.arange(steps, 0, -1))[0]
  return GuidedSamples(samples, starts, count)
