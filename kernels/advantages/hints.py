"""ADHint's advantages for prompts with hinted and plain responses, and the weights of the hint's own tokens.

Rows are responses; `hinted` marks those that continue the first part of a reference solution. `group_ids` identify the
prompt, so both kinds share a group.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.curricula.hints import difficulty
from rl_jax.kernels.reductions import group_size, masked_mean, standardize, zero_masked


class KindWeights(NamedTuple):
  """Weight of a success of each kind, on every row of the group; a failure has the weight of the other kind's success.

  Both are 1 in groups without a scored row of either kind.
  """

  plain: Float[Array, " B"]
  hinted: Float[Array, " B"]


def kind_weights(
  rewards: Float[Array, " B"],
  hinted: Bool[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  beta: float = 1.0,
) -> KindWeights:
  """rho_plain = exp(beta (D_plain - D_hinted) / 2) and rho_hinted = 1 / rho_plain, D the difficulty of each kind.

  ADHint's difficulty posterior, arXiv 2512.13095. The paper has only the rules: if the hint made the prompt easier, a
  success without it counts more and a success with it less. The form, which is bounded and follows these rules, and
  beta are inferred; beta 0 gives 1.

  >>> args = jnp.array([0.0, 0.0, 1.0, 1.0]), jnp.array([False, False, True, True]), jnp.full(4, 7)
  >>> print(*(w[0].round(2) for w in kind_weights(*args, jnp.ones(4, bool))))
  1.65 0.61
  """
  same_shape("kind_weights", "B", rewards=rewards, hinted=hinted, group_ids=group_ids, mask=mask)
  kinds = [(mask != 0) & (hinted == 0), (mask != 0) & (hinted != 0)]
  plain, helped = (difficulty(rewards, group_ids, kind) for kind in kinds)
  in_both = (group_size(group_ids, kinds[0]) > 0) & (group_size(group_ids, kinds[1]) > 0)
  exponent = jnp.where(in_both, beta * (plain - helped) / 2, 0)
  return KindWeights(jnp.exp(exponent), jnp.exp(-exponent))


def adhint(
  rewards: Float[Array, " B"],
  hinted: Bool[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  base: str = "joint",
  beta: float = 1.0,
  ddof: int = 1,
  eps: float = 1e-6,
) -> Float[Array, " B"]:
  """A_i = a_i rho_own where a_i > 0 and a_i rho_other where a_i < 0, with a_i = (r_i - mean) / (std + eps).

  ADHint (AE-RDP), arXiv 2512.13095. `base`: mean and std over all responses to the prompt ("joint") or over those of
  the same kind ("separate"). The parts of the paper that could be read give the effects of a and rho, not their
  formulas: see `kind_weights`. Constant groups and groups of one get 0; beta 0 with base "joint" is GRPO on all
  responses.

  >>> args = jnp.array([0.0, 1.0, 1.0, 1.0]), jnp.array([False, False, True, True]), jnp.full(4, 7)
  >>> print(adhint(*args, jnp.ones(4, bool)).round(2))
  [-1.17  0.64  0.39  0.39]
  """
  known_option("adhint", "base", base, ("joint", "separate"))
  weights = kind_weights(rewards, hinted, group_ids, mask, beta=beta)
  helped = hinted != 0
  relative = lambda rows: standardize(rewards, group_ids, rows, ddof=ddof, eps=eps)
  if base == "joint":
    advantages = relative(mask != 0)
  else:
    advantages = relative((mask != 0) & helped) + relative((mask != 0) & ~helped)
  own_or_other = jnp.where(helped == (advantages > 0), weights.hinted, weights.plain)
  return jax.lax.stop_gradient(zero_masked(advantages * own_or_other, mask))


def hint_token_weights(
  entropies: Float[Array, "B T"],
  advantages: Float[Array, " B"],
  hint_mask: Num[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  eps: float = 1e-6,
) -> Float[Array, "B T"]:
  """1 on sampled tokens; on hint tokens (min(H_t, H) + eps) / (max(H_t, H) + eps), H = mean of H_t over sampled ones.

  ADHint (CGM and SM), arXiv 2512.13095: a hint token counts less the more its entropy differs from that of the
  continuation, and not at all if A < 0, since the continuation failed. The ratio is not in the paper. `mask` covers
  hint and continuation, `hint_mask` only the hint; a row without a continuation has weight 1. Multiply the losses of
  `policy_gradient` by the weights; "token_mean" over `mask` then counts hint tokens as tokens.

  >>> print(hint_token_weights(jnp.array([[0.5, 4.0, 1.0, 3.0]]), jnp.ones(1), jnp.array([[1, 1, 0, 0]]),
  ...                          jnp.ones((1, 4))).round(2))
  [[0.25 0.5  1.   1.  ]]
  """
  same_shape("hint_token_weights", "B T", entropies=entropies, hint_mask=hint_mask, mask=mask)
  hint = (mask != 0) & (hint_mask != 0)
  sampled = (mask != 0) & (hint_mask == 0)
  continuation = masked_mean(entropies, sampled, axis=1)
  level, continues = continuation.value[:, None], continuation.weight[:, None] > 0
  entropies = zero_masked(entropies, mask)
  match = (jnp.minimum(entropies, level) + eps) / (jnp.maximum(entropies, level) + eps)
  weights = jnp.where(hint & continues, match, 1)
  return jax.lax.stop_gradient(zero_masked(weights, sampled | (hint & (advantages >= 0)[:, None])))
