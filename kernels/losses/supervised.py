"""Cross-entropy on given tokens: demonstrations, hints, replayed responses, and the policy's own correct ones."""

from __future__ import annotations

from jaxtyping import Array, Bool, Float, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import Mean, aggregate, zero_masked


def negative_log_likelihood(logprobs: Float[Array, "B T"], mask: Num[Array, "B T"]) -> Float[Array, "B T"]:
  """l_t = -logp_t, to be aggregated; 0 in masked slots.

  >>> print(negative_log_likelihood(jnp.array([[-2.0, jnp.nan]]), jnp.array([[1, 0]])))
  [[2. 0.]]
  """
  same_shape("negative_log_likelihood", "B T", logprobs=logprobs, mask=mask)
  return zero_masked(-logprobs, mask)


def positive_example_nll(logprobs: Float[Array, "B T"], correct: Bool[Array, " B"], mask: Num[Array, "B T"]) -> Mean:
  """-sum of logp over the tokens of correct responses, over the number of those tokens.

  VAPO, arXiv 2504.05118, equation 13; added to the policy loss with coefficient 0.1. No correct response: weight 0,
  value 0.

  >>> logprobs = jnp.array([[-2.0, -4.0], [-9.0, -9.0]])
  >>> print(positive_example_nll(logprobs, jnp.array([True, False]), jnp.ones((2, 2))).value)
  3.0
  """
  weights = zero_masked(mask, correct[:, None])
  return aggregate(negative_log_likelihood(logprobs, weights), weights, mode="token_mean")
