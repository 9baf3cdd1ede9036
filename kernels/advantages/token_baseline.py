"""Advantages against a baseline of each token, which weighs rows by how much gradient they have gathered so far."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.reductions import Mean, densify, zero_masked
from rl_jax.kernels.scans import discounted_sums, running_sums
from rl_jax.kernels.segments import on_tokens, segment_sum

ALIGNMENTS = ("token", "slot")


def optimal_token_baseline(
  token_rewards: Float[Array, "B T"],
  logprobs: Float[Array, "B T"],
  collisions: Float[Array, "B T"],
  group_ids: Int[Array, " B"],
  mask: Num[Array, "B T"],
  *,
  align: str = "token",
  zero_tail: bool = False,
  weights: Float[Array, "B T"] | None = None,
) -> Float[Array, "B T"]:
  """A_t = G_t - sum_g W_t G_t / sum_g W_t, W_t = sum_{s <= t} (1 - 2 pi_s + sum_v pi_s(v)^2), G_t = sum_{s >= t} r_s.

  Optimal token baseline, arXiv 2602.07078: the baseline of least variance where the squared gradient of a token's
  logprob is taken to be that by its logits. logp_s = log pi_s is the sampled token's, `collisions` hold sum_v pi_s(v)^2
  over the vocabulary, both of the policy before the update. `align` says which tokens of a group share a baseline:
  those of one slot, or the n-th trained tokens, which differ where tools write in between. verl has both:
  optimal_token_baseline, "slot" without `zero_tail`, and tir_optimal_token_baseline, "token" with it. `zero_tail`: a
  token that no other row of its group reaches has baseline 0, else its own G. `weights` of an importance correction
  enter W squared. A row alone in its group has A = G. No gradient; 0 in masked slots, whose rewards are ignored.

  >>> logp, collisions = jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.25]])), jnp.array([[0.5, 0.5], [1.0, 1.0]])
  >>> rewards, ids = jnp.array([[0.0, 1.0], [0.0, 0.0]]), jnp.array([7, 7])
  >>> print(optimal_token_baseline(rewards, logp, collisions, ids, jnp.ones((2, 2))))
  [[ 0.75  0.75]
   [-0.25 -0.25]]
  """
  known_option("optimal_token_baseline", "align", align, ALIGNMENTS)
  arrays = dict(token_rewards=token_rewards, logprobs=logprobs, collisions=collisions, mask=mask)
  same_shape("optimal_token_baseline", "B T", **arrays)
  trained, groups = mask != 0, densify(group_ids)
  energy = jnp.maximum(1 - 2 * jnp.exp(zero_masked(logprobs, mask)) + zero_masked(collisions, mask), 0)
  if weights is not None:
    energy = energy * jnp.square(zero_masked(weights, mask))
  gathered, returns = running_sums(zero_masked(energy, mask)), discounted_sums(token_rewards, mask)
  index = running_sums(trained) - 1 if align == "token" else jnp.broadcast_to(jnp.arange(mask.shape[1]), mask.shape)

  def pooled(x):
    """Sums over a group's rows of what is at the n-th place, on all its rows."""
    placed = segment_sum(x, index, mask, num_segments=mask.shape[1])
    return jax.ops.segment_sum(placed, groups, num_segments=mask.shape[0])[groups]

  baselines = Mean(pooled(gathered * returns), pooled(gathered)).value
  reached = pooled(trained)
  alone = reached.max(axis=1, keepdims=True, initial=0) == 1
  baselines = jnp.where(alone | (zero_tail & (reached == 1)), 0, baselines)
  return jax.lax.stop_gradient(zero_masked(returns - on_tokens(baselines, index, mask), mask))
