"""SPAE: a group advantage that fades once the answer is found, plus a bonus for the steps that find it.

Arrays are [B, S], one value per reasoning step, with a mask of the steps that exist, which come first in each row. The
potentials come from `rewards.probes`. Advantages carry no gradient.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.advantages.group import dr_grpo
from rl_jax.kernels.reductions import group_deviations, whiten, zero_masked
from rl_jax.kernels.rewards.process import progress
from rl_jax.kernels.segments import on_tokens


def saturation_factors(
  potentials: Float[Array, "B S"], mask: Num[Array, "B S"], *, alpha: float = 0.5, threshold: float = 0.9
) -> Float[Array, "B S"]:
  """f_k = 1 - alpha (1 - exp(-C_k)), C_k = #{t < k: Phi_t > threshold}: 1 until the answer is found, then to 1 - alpha.

  SPAE, arXiv 2601.03823. Only strictly earlier steps count. The threshold is that of the authors' probe script, not
  in the paper. 0 at steps that do not exist.

  >>> print(saturation_factors(jnp.array([[0.0, 0.95, 0.99]]), jnp.ones((1, 3))).round(3))
  [[1.    1.    0.684]]
  """
  same_shape("saturation_factors", "B S", potentials=potentials, mask=mask)
  potentials = zero_masked(potentials, mask)
  saturated = (potentials > threshold).astype(potentials.dtype)
  earlier = jnp.cumsum(saturated, axis=1) - saturated
  return jax.lax.stop_gradient(zero_masked(1 - alpha * (1 - jnp.exp(-earlier)), mask))


def potential_gains(potentials: Float[Array, "B S"], mask: Num[Array, "B S"]) -> Float[Array, "B S"]:
  """dPhi_k = Phi_k - Phi_{k-1}; 0 at the first step (not in the paper) and at steps that do not exist.

  SPAE, arXiv 2601.03823.

  >>> print(potential_gains(jnp.array([[0.5, 0.75, jnp.nan]]), jnp.array([[1, 1, 0]])))
  [[0.   0.25 0.  ]]
  """
  same_shape("potential_gains", "B S", potentials=potentials, mask=mask)
  potentials = zero_masked(potentials, mask)
  return progress(potentials, potentials[:, 0], mask)


def exponential_shaping(gains: Float[Array, "B S"], mask: Num[Array, "B S"]) -> Float[Array, "B S"]:
  """g = exp(z) - mean(exp(z)), z = (d - min) / (max - min), over all steps of the batch, each counted once.

  SPAE, arXiv 2601.03823; the range [0, 1] of z and its scope, the batch, are not in the paper. All 0 where the gains
  are all equal.

  >>> print(exponential_shaping(jnp.array([[0.0, 2.0], [0.0, 2.0]]), jnp.array([[1, 1], [0, 1]])).round(3))
  [[-1.146  0.573]
   [ 0.     0.573]]
  """
  same_shape("exponential_shaping", "B S", gains=gains, mask=mask)
  exists, gains = mask != 0, zero_masked(gains, mask)
  low, high = jnp.min(gains, where=exists, initial=jnp.inf), jnp.max(gains, where=exists, initial=-jnp.inf)
  varies = high > low
  z = (gains - jnp.where(varies, low, 0)) / jnp.where(varies, high - low, 1)
  return jax.lax.stop_gradient(jnp.where(varies, group_deviations(jnp.exp(zero_masked(z, mask)), None, mask), 0))


def spae(
  rewards: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  potentials: Float[Array, "B S"],
  step_mask: Num[Array, "B S"],
  step_ids: Int[Array, "B T"],
  token_mask: Num[Array, "B T"],
  *,
  alpha: float = 0.5,
  xi: float = 0.5,
  threshold: float = 0.9,
  normalization: str = "batch",
) -> Float[Array, "B T"]:
  """A_{i,j} = (R_i - mean_g) f_k + xi g_k, k the step of token j, then whitened over all trained tokens of the batch.

  SPAE, arXiv 2601.03823. f: `saturation_factors`, for both signs of R_i - mean_g; g: `exponential_shaping` of the
  potential's gains. A token of no step has f = 1 and g = 0; tokens after the last boundary carry the id of the last
  step (not in the paper). Unscored rows get 0 and are left out, with their steps. Constant groups and groups of one
  keep the shaping alone. `normalization`: "batch" (verl's whitening, not in the paper) or "none". alpha 0 and xi 0
  are REINFORCE++-baseline. To be aggregated by "token_mean", with DAPO's clip.

  >>> args = jnp.array([1.0, 0.0]), jnp.array([7, 7]), jnp.array([True, True])
  >>> potentials, ids = jnp.array([[0.0, 0.95, 0.95], [0.0, 0.0, 0.0]]), jnp.array([[0, 1, 2], [0, 1, 2]])
  >>> print(spae(*args, potentials, jnp.ones((2, 3)), ids, jnp.ones((2, 3)), xi=0.0, normalization="none").round(3))
  [[ 0.5    0.5    0.342]
   [-0.5   -0.5   -0.5  ]]
  """
  known_option("spae", "normalization", normalization, ("batch", "none"))
  same_shape("spae", "B S", potentials=potentials, step_mask=step_mask)
  same_shape("spae", "B T", step_ids=step_ids, token_mask=token_mask)
  steps, tokens = (step_mask != 0) & mask[:, None], (token_mask != 0) & mask[:, None]
  factors = saturation_factors(potentials, steps, alpha=alpha, threshold=threshold)
  shaping = exponential_shaping(potential_gains(potentials, steps), steps)
  outcome = dr_grpo(rewards, group_ids, mask, singleton="zero")[:, None]
  by_step = jnp.where(steps, outcome * factors + xi * shaping, outcome)
  # With a step more, of tokens without one: steps are put on the tokens once, which costs more than all arithmetic.
  count = steps.shape[1]
  ids = jnp.where((step_ids >= 0) & (step_ids < count), step_ids, count)
  advantages = on_tokens(jnp.concatenate([by_step, outcome], axis=1), ids, tokens)
  return jax.lax.stop_gradient(advantages if normalization == "none" else whiten(advantages, tokens))
