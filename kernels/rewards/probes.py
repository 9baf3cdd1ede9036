"""SPAE's probe signals: how sure the policy is of an answer at a step boundary, and how likely it finds the right one.

At each boundary the policy is made to answer at once. Arrays are [..., N, L] or [..., M] with any leading axes, such as
[B, S] for the steps of each response. The signals carry no gradient.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import masked_mean, zero_masked


def probe_confidence(entropies: Float[Array, "*steps N L"], mask: Num[Array, "*steps N L"]) -> Float[Array, "*steps"]:
  """Conf = mean_n exp(-mean_l H_{n,l}) in (0, 1], over N probe answers of up to L tokens; 0 without any answer.

  SPAE, arXiv 2601.03823. `entropies`: of the whole vocabulary in nats, at each position of a sampled answer. Answers
  without tokens are left out of the mean (not in the paper).

  >>> print(probe_confidence(jnp.array([[0.0, 0.0], [jnp.log(4.0), 9.0]]), jnp.array([[1, 1], [1, 0]])))
  0.625
  """
  answers = masked_mean(entropies, mask != 0, axis=-1)
  return jax.lax.stop_gradient(masked_mean(jnp.exp(-answers.value), answers.weight != 0, axis=-1).value)


def probe_accuracy(answer_logprobs: Float[Array, "*steps M"], mask: Num[Array, "*steps M"]) -> Float[Array, "*steps"]:
  """Acc = mean_m pi(y*_m | prompt, steps so far, probe, y*_<m), over the M tokens of the right answer; 0 if empty.

  SPAE, arXiv 2601.03823. The arithmetic mean of token probabilities under teacher forcing, so one pass is enough.

  >>> print(probe_accuracy(jnp.log(jnp.array([0.5, 0.25])), jnp.ones(2)))
  0.375
  """
  probabilities = jnp.exp(zero_masked(answer_logprobs, mask))
  return jax.lax.stop_gradient(masked_mean(probabilities, mask != 0, axis=-1).value)


def step_potential(
  accuracy: Float[Array, "B S"], confidence: Float[Array, "B S"], mask: Num[Array, "B S"]
) -> Float[Array, "B S"]:
  """Phi = 1.5 Acc Conf + 0.5 Acc - Conf in [-1, 1]: near 0 exploring, 1 sure and right, -1 sure and wrong.

  SPAE, arXiv 2601.03823. 0 at steps that do not exist.

  >>> print(step_potential(jnp.array([[0.0, 0.0, 1.0, 1.0]]), jnp.array([[0.0, 1.0, 1.0, 0.0]]), jnp.ones((1, 4))))
  [[ 0.  -1.   1.   0.5]]
  """
  same_shape("step_potential", "B S", accuracy=accuracy, confidence=confidence, mask=mask)
  accuracy, confidence = zero_masked(accuracy, mask), zero_masked(confidence, mask)
  return jax.lax.stop_gradient(1.5 * accuracy * confidence + 0.5 * accuracy - confidence)
