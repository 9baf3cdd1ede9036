"""Distillation from a teacher's distributions: a divergence at each token, to be aggregated.

S is the student's distribution, T the teacher's. Slot t of the logits [B, T, V] is the distribution that token t was
drawn from (shifted already), on the same tokens and vocabulary. Gradients go to the student's logits alone: neither to
the teacher nor to how the tokens came about. Forward KL on the teacher's responses, then reverse KL on the student's
own, are the two stages of "Sparse-to-Dense", arXiv 2605.12483. GKD averages over the batch's tokens: `aggregate` with
mode "token_mean". The form with sampled tokens alone is `advantages.distillation`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels import _divergences
from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.logprobs.reference import categorical
from rl_jax.kernels.reductions import zero_masked


def _log_softmax(logits, mask, temperature):
  return jax.nn.log_softmax(zero_masked(logits, mask[..., None]) / temperature, axis=-1)


def generalized_jsd(
  student_logits: Float[Array, "B T V"],
  teacher_logits: Float[Array, "B T V"],
  mask: Num[Array, "B T"],
  *,
  beta: float = 0.5,
  temperature: float = 1.0,
) -> Float[Array, "B T"]:
  """D_t = beta KL(T || M) + (1 - beta) KL(S || M), M = beta T + (1 - beta) S; beta 0: KL(T || S), beta 1: KL(S || T).

  GKD, arXiv 2306.13649, section 3, with TRL's special cases, which are not the limits: D goes to 0 as beta goes to 0 or
  1, and beta 0.1 has about a tenth of the scale of beta 0. `temperature` divides both logits. Logits of -inf (tokens
  that cannot be sampled) are allowed; where only the second distribution of a KL has one, it is infinite. 0 in masked
  slots and where both agree.

  >>> student, teacher = jnp.array([[[1.0, 0.0, -1.0]]]), jnp.array([[[0.0, 0.5, 1.0]]])
  >>> print(f"{generalized_jsd(student, teacher, jnp.ones((1, 1))).item():.4f}")
  0.1534
  """
  same_shape("generalized_jsd", "B T V", student_logits=student_logits, teacher_logits=teacher_logits)
  same_shape("generalized_jsd", "B T", mask=mask, student_logits=student_logits[..., 0])
  if not 0 <= beta <= 1:
    raise ValueError(f"generalized_jsd: expected 0 <= beta <= 1, got {beta}")
  student = _log_softmax(student_logits, mask, temperature)
  teacher = jax.lax.stop_gradient(_log_softmax(teacher_logits, mask, temperature))
  return zero_masked(_divergences.generalized_jsd(student, teacher, beta), mask)


def forward_kl(
  student_logits: Float[Array, "B T V"],
  teacher_logits: Float[Array, "B T V"],
  mask: Num[Array, "B T"],
  *,
  temperature: float = 1.0,
) -> Float[Array, "B T"]:
  """KL(T || S), with gradient p_S - p_T: the warm-up on cached responses of the teacher.

  arXiv 2605.12483, stage 2a. 0 in masked slots.

  >>> student, teacher = jnp.array([[[1.0, 0.0, -1.0]]]), jnp.array([[[0.0, 0.5, 1.0]]])
  >>> print(f"{forward_kl(student, teacher, jnp.ones((1, 1))).item():.4f}")
  0.7076
  """
  return generalized_jsd(student_logits, teacher_logits, mask, beta=0.0, temperature=temperature)


def reverse_kl(
  student_logits: Float[Array, "B T V"],
  teacher_logits: Float[Array, "B T V"],
  mask: Num[Array, "B T"],
  *,
  temperature: float = 1.0,
) -> Float[Array, "B T"]:
  """KL(S || T), with gradient p_S (log p_S - log p_T - KL): on-policy distillation, on the student's own responses.

  arXiv 2605.12483, equation 4, stage 2b. 0 in masked slots.

  >>> student, teacher = jnp.array([[[1.0, 0.0, -1.0]]]), jnp.array([[[0.0, 0.5, 1.0]]])
  >>> print(f"{reverse_kl(student, teacher, jnp.ones((1, 1))).item():.4f}")
  0.6355
  """
  return generalized_jsd(student_logits, teacher_logits, mask, beta=1.0, temperature=temperature)


def top_k_distillation(
  student_logits: Float[Array, "B T V"],
  teacher_logprobs: Float[Array, "B T K"],
  teacher_tokens: Int[Array, "B T K"],
  mask: Num[Array, "B T"],
  *,
  variant: str = "kl",
  temperature: float = 1.0,
) -> Float[Array, "B T"]:
  """Distillation from the teacher's K most likely tokens, against the student's full softmax.

  `variant` "kl": sum_k p_k (log p_k - log s_k), the terms of KL(T || S) that are known (verl); may be negative.
  "cross_entropy": -sum_k q_k log s_k with q = p / sum p (tinker). With K = V both have forward KL's gradient.
  `temperature` divides the student's logits; the teacher's logprobs are taken as they come. 0 in masked slots.

  >>> teacher = jnp.log(jnp.array([[[0.5, 0.25]]]))
  >>> args = jnp.zeros((1, 1, 4)), teacher, jnp.array([[[2, 0]]]), jnp.ones((1, 1))
  >>> print(top_k_distillation(*args).round(4), top_k_distillation(*args, variant="cross_entropy").round(4))
  [[0.3466]] [[1.3863]]
  """
  known_option("top_k_distillation", "variant", variant, ("kl", "cross_entropy"))
  same_shape("top_k_distillation", "B T K", teacher_logprobs=teacher_logprobs, teacher_tokens=teacher_tokens)
  teacher = jax.lax.stop_gradient(zero_masked(teacher_logprobs, mask[..., None]))
  logits = zero_masked(student_logits, mask[..., None])
  tokens = jnp.where(mask[..., None] != 0, teacher_tokens, 0)
  over_tokens = jax.vmap(lambda token: categorical(logits, token, temperature=temperature).logprobs, -1, -1)
  student = over_tokens(tokens)
  if variant == "kl":
    return zero_masked(_divergences.kl(teacher, student), mask)
  possible = ~jnp.isneginf(teacher)
  weights = jax.nn.softmax(teacher, axis=-1)
  return zero_masked(-jnp.where(possible, weights * jnp.where(possible, student, 0), 0).sum(axis=-1), mask)
