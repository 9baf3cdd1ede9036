"""Shapley credit of the units (tokens, spans, sentences) of a response: a terminal reward split into a dense one.

Units are the players of a cooperative game whose value v(S) is the reward model's score of the response with the units
outside S blanked. `values` [B, 2^S] are in bitmask order: bit i of the index is unit i. A row may have fewer units than
S: `mask` [B, S] names those that exist, and values of coalitions with any other unit are ignored. Credits carry no
gradient.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.losses.divergence import kl
from rl_jax.kernels.reductions import per_token, widen, zero_masked
from rl_jax.kernels.segments import last_token, on_tokens, segment_ends


def _orderings(largest: int) -> np.ndarray:
  """k! (n - 1 - k)! / n! at [n, k]: the share of the orders of n players in which k given ones come before a player."""
  share = np.zeros((largest + 1, largest + 1))
  for n in range(1, largest + 1):
    for k in range(n):
      share[n, k] = 1 / (n * math.comb(n - 1, k))
  return share


def _membership(num_units: int) -> np.ndarray:
  """Return whether unit i is in coalition c, at [c, i]."""
  return (np.arange(2**num_units)[:, None] >> np.arange(num_units)) % 2 == 1


def _owen_weights(block_ids, mask, members, dtype):
  """Chance [B, C, S] that exactly coalition c comes before unit i when blocks, and units in blocks, are shuffled."""
  exists, inside = mask != 0, jnp.asarray(members)
  together = exists[:, :, None] & exists[:, None, :]
  same_block = together & (block_ids[:, :, None] == block_ids[:, None, :])
  count = lambda spec, a, b: jnp.einsum(spec, a.astype(jnp.int32), b.astype(jnp.int32))
  size = same_block.sum(axis=-1)
  own = count("cj,bij->bci", inside, same_block)
  first = exists & ~(same_block & np.tri(exists.shape[1], k=-1, dtype=bool)).any(axis=-1)
  other_blocks = count("bcj,bij->bci", (own == size[:, None]) & first[:, None], together & ~same_block)
  # Every other block comes before unit i as a whole or not at all.
  broken = count("bcj,bij->bci", (own > 0) & (own < size[:, None]), together & ~same_block) > 0
  unknown = (inside & ~exists[:, None]).any(axis=-1, keepdims=True)
  share = jnp.asarray(_orderings(exists.shape[1]), dtype)
  weights = share[first.sum(axis=1)[:, None, None], other_blocks] * share[size[:, None], own]
  return jnp.where(exists[:, None] & ~inside & ~broken & ~unknown, weights, 0)


def owen(values: Float[Array, "B C"], block_ids: Int[Array, "B S"], mask: Num[Array, "B S"]) -> Float[Array, "B S"]:
  """Owen value: the Shapley value of unit i over the orders that keep each block B_1 .. B_m together.

  sum over sets H of other blocks and S of B_k minus i of |H|! (m-|H|-1)! / m! |S|! (|B_k|-|S|-1)! / |B_k|!
  [v(Q_H + S + i) - v(Q_H + S)], Q_H the union of the blocks in H. SCAR, arXiv 2505.20417, whose authors take SHAP's
  recursive form over a binary hierarchy; this is one level of it. C = 2^S. `block_ids` are any integers. The credits of
  a row add up to v(all) - v(none). One block, or only blocks of one unit, give `shapley`. 0 for units that do not exist
  and for a constant game.

  >>> print(owen(jnp.array([[0, 0, 0, 0, 0, 0, 0, 1.0]]), jnp.array([[0, 0, 1]]), jnp.ones((1, 3))))
  [[0.25 0.25 0.5 ]]
  """
  same_shape("owen", "B S", block_ids=block_ids, mask=mask)
  num_units = mask.shape[1]
  if values.shape != (mask.shape[0], 2**num_units):
    raise ValueError(f"owen: expected values [B, 2^S] = {(mask.shape[0], 2**num_units)}, got {values.shape}")
  values, coalitions = widen(values), np.arange(2**num_units)
  weights = _owen_weights(block_ids, mask, _membership(num_units), values.dtype)
  joined = coalitions[:, None] | (1 << np.arange(num_units))
  marginals = zero_masked(values[:, joined], weights) - zero_masked(values[:, :, None], weights)
  return jax.lax.stop_gradient((weights * marginals).sum(axis=1))


def shapley(values: Float[Array, "B C"], mask: Num[Array, "B S"]) -> Float[Array, "B S"]:
  """SV_i = sum over S without i of |S|! (N - |S| - 1)! / N! [v(S + i) - v(S)].

  SCAR, arXiv 2505.20417. C = 2^S: exact, for up to about 10 units. The credits of a row add up to v(all) - v(none),
  which is v(all) only if the empty response scores 0. An all-or-nothing game gives every unit 1/N. 0 for units that do
  not exist and for a constant game; one unit gets the whole difference.

  >>> print(shapley(jnp.array([[0.0, 1.0, 2.0, 4.0]]), jnp.ones((1, 2))))
  [[1.5 2.5]]
  """
  return owen(values, jnp.zeros(mask.shape, jnp.int32), mask)


def prefix_values(
  values: Float[Array, "B C"], orders: Int[Array, "B P S"], mask: Num[Array, "B S"]
) -> Float[Array, "B P S+1"]:
  """v of the first 0, 1, .., S units of each order, read from the table of all coalitions.

  What `permutation_shapley` takes; with many units, score only these prefixes. Units that do not exist are left out.

  >>> print(prefix_values(jnp.array([[0.0, 1.0, 2.0, 4.0]]), jnp.array([[[1, 0]]]), jnp.ones((1, 2))))
  [[[0. 2. 4.]]]
  """
  exists = jnp.take_along_axis(jnp.broadcast_to((mask != 0)[:, None], orders.shape), orders, axis=-1)
  prefixes = jnp.cumsum(jnp.where(exists, 1 << orders, 0), axis=-1)
  prefixes = jnp.pad(prefixes, ((0, 0), (0, 0), (1, 0)))
  flat = jnp.take_along_axis(widen(values), prefixes.reshape(prefixes.shape[0], -1), axis=1)
  return jax.lax.stop_gradient(flat.reshape(prefixes.shape))


def permutation_shapley(
  values: Float[Array, "B P S+1"], orders: Int[Array, "B P S"], mask: Num[Array, "B S"]
) -> Float[Array, "B S"]:
  """Mean over P random orders of v(units up to i) - v(units before i): unbiased for `shapley`.

  `values` are those of the prefixes of each order (see `prefix_values`); an order is a permutation of all S units,
  those that do not exist after the others or adding nothing. The credits of every order add up to v(all) - v(none).

  >>> print(permutation_shapley(jnp.array([[[0.0, 2.0, 4.0]]]), jnp.array([[[1, 0]]]), jnp.ones((1, 2))))
  [[2. 2.]]
  """
  if values.shape != (*orders.shape[:2], orders.shape[2] + 1) or orders.shape[::2] != mask.shape:
    raise ValueError(
      "permutation_shapley: expected values [B P S+1], orders [B P S] and mask [B S], "
      f"got {values.shape}, {orders.shape} and {mask.shape}"
    )
  exists = jnp.broadcast_to((mask != 0)[:, None], orders.shape)
  place = jnp.argsort(orders, axis=-1)
  read = lambda x: zero_masked(jnp.take_along_axis(x, place, axis=-1), exists)
  return jax.lax.stop_gradient((read(values[..., 1:]) - read(values[..., :-1])).mean(axis=1))


def scar_rewards(
  credits: Float[Array, "B S"],
  unit_ids: Int[Array, "B T"],
  terminal_rewards: Float[Array, " B"],
  logprobs: Float[Array, "B T"],
  ref_logprobs: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  alpha: float,
  kl_coef: float,
) -> Float[Array, "B T"]:
  """R_t = -kl_coef (logp_t - ref_t) + alpha [t ends unit i] SV_i + (1 - alpha) [t = T] r.

  SCAR, arXiv 2505.20417. `unit_ids` name the unit of each token, in contiguous runs, -1 for none; `alpha` and `kl_coef`
  have no published default. The credit on the last token of its unit is not in the paper. alpha 0 is sparse RLHF. The
  rewards of a row add up to r - alpha v(none), less the KL term: the optimum stays only if v(none) is one number per
  prompt, so score one fixed empty response. 0 in masked slots; a row without tokens has no reward.

  >>> x = jnp.zeros((1, 4))
  >>> args = jnp.array([[0.25, 0.5]]), jnp.array([[0, 0, 1, 1]]), jnp.array([1.0]), x, x, jnp.array([[1, 1, 1, 0]])
  >>> print(scar_rewards(*args, alpha=0.5, kl_coef=0.1))
  [[0.    0.125 0.75  0.   ]]
  """
  same_shape("scar_rewards", "B T", unit_ids=unit_ids, logprobs=logprobs, ref_logprobs=ref_logprobs, mask=mask)
  penalty = kl_coef * kl(logprobs, ref_logprobs, mask, value="k1")
  shapley_rewards = on_tokens(credits, unit_ids, segment_ends(unit_ids, mask))
  terminal = per_token(terminal_rewards, last_token(mask))
  return jax.lax.stop_gradient(alpha * shapley_rewards + (1 - alpha) * terminal - penalty)
