"""Advantages from a teacher's logprobs of the sampled tokens: a dense reward for every token of the student's response.

The log ratio log T - log S of a sampled token is the one-sample estimate of -KL(S || T), so a policy gradient with it
descends the reverse KL. Advantages carry no gradient and are neither whitened nor clipped. The loss of Thinking
Machines' recipe is `policy_gradient` with clip "none" and `aggregate` with mode "constant", constant 1 (a sum).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels.advantages.group import dr_grpo
from rl_jax.kernels.losses.divergence import kl
from rl_jax.kernels.reductions import per_token, widen, zero_masked
from rl_jax.kernels.scans import discounted_sums


def _sums_over_slots(x, discount):
  """sum_{k >= t} discount^(k - t) x_k, where masked slots (x = 0) count in the exponent."""
  return discounted_sums(x, jnp.ones_like(x), discount=discount)


def opd(
  sampler_logprobs: Float[Array, "B T"],
  teacher_logprobs: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  coef: float = 1.0,
  discount: float = 0.0,
) -> Float[Array, "B T"]:
  """A_t = sum_{k >= t} discount^(k - t) x_k, x_t = -coef (log S_t - log T_t): on-policy distillation.

  The sampled-token form of arXiv 2605.12483, equation 4, after Thinking Machines' recipe. `sampler_logprobs` are those
  of the policy that generated. discount 0 (default): each token answers for itself. As in the recipe's code, masked
  slots add nothing but count in the exponent. In expectation over the student's tokens, A_t grad log S_t at discount 0
  is -coef times the gradient of KL(S || T). 0 in masked slots and where both models agree.

  >>> print(opd(jnp.array([[-1.0, -1.0]]), jnp.array([[-2.0, -0.5]]), jnp.ones((1, 2))))
  [[-1.   0.5]]
  """
  dense = -coef * kl(sampler_logprobs, teacher_logprobs, mask, value="k1")
  return jax.lax.stop_gradient(zero_masked(_sums_over_slots(dense, discount), mask))


def opd_with_rewards(
  rewards: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  sampler_logprobs: Float[Array, "B T"],
  teacher_logprobs: Float[Array, "B T"],
  token_mask: Num[Array, "B T"],
  *,
  coef: float = 1.0,
  discount: float = 0.0,
  singleton: str = "zero",
) -> Float[Array, "B T"]:
  """A_t = (r_i - mean_g) + `opd`'s advantage: an outcome reward and a teacher together.

  Thinking Machines' recipe; no division by the std, no discount on the reward. Unscored rows, groups of one
  (`singleton` "zero") and constant groups keep the teacher's part alone. 0 in masked slots.

  >>> x = jnp.log(jnp.array([[0.5], [0.5]])), jnp.log(jnp.array([[0.25], [0.5]])), jnp.ones((2, 1))
  >>> print(opd_with_rewards(jnp.array([1.0, 0.0]), jnp.array([7, 7]), jnp.array([True, True]), *x).round(3))
  [[-0.193]
   [-0.5  ]]
  """
  outcome = per_token(dr_grpo(rewards, group_ids, mask, singleton=singleton), token_mask)
  return outcome + opd(sampler_logprobs, teacher_logprobs, token_mask, coef=coef, discount=discount)


def minillm(
  sampler_logprobs: Float[Array, "B T"],
  teacher_logprobs: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  discount: float = 1.0,
  length_normalized: bool = False,
) -> Float[Array, "B T"]:
  """A_t = sum_{i >= t} discount^(i - t) R_i, R_t = log T_t - log S_t: the reward to go.

  MiniLLM, arXiv 2306.08543. `length_normalized` divides by sum_{i >= t} discount^(i - t). Masked slots add nothing to
  either sum but count in the exponent. 0 in masked slots.

  >>> print(minillm(jnp.array([[-1.0, -1.0]]), jnp.array([[-2.0, 0.0]]), jnp.ones((1, 2)), discount=0.5))
  [[-0.5  1. ]]
  """
  summed = opd(sampler_logprobs, teacher_logprobs, mask, discount=discount)
  if not length_normalized:
    return summed
  lengths = _sums_over_slots(widen(mask != 0).astype(summed.dtype), discount)
  return zero_masked(summed / jnp.where(mask != 0, lengths, 1), mask)
