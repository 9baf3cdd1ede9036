"""An ensemble of language models, one per domain, mixed by a posterior over domains that is updated with the text.

Branch-Train-Merge and HDEE, arXiv 2502.19385: experts are trained separately, with more steps or a larger model for
harder domains at the same total compute. There are K experts; logprobs are [B K T], log p_k(x_t | x_<t).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.reductions import widen, zero_masked
from rl_jax.kernels.scans import running_sums


class DomainMixture(NamedTuple):
  """Logprobs of the ensemble, and the weights of the experts at each token; 0 in masked slots."""

  logprobs: Float[Array, "B T"]
  weights: Float[Array, "B T K"]


def domain_mixture(
  logprobs: Float[Array, "B K T"], prior: Float[Array, " K"], mask: Num[Array, "B T"]
) -> DomainMixture:
  """log sum_k w_k(t) p_k(x_t | x_<t), w(t) = softmax(log prior + sum_{s<t} log p_k(x_s | x_<s)): only tokens before t.

  HDEE, arXiv 2502.19385, as in its code. The sum is over unmasked tokens; a sampler mixes whole distributions with the
  same weights. Perplexity is exp of minus the mean over all tokens, not over the means of texts. A prior of 0 excludes
  an expert.

  >>> logprobs = jnp.log(jnp.array([[[0.75, 0.5], [0.25, 0.5]]]))
  >>> print(domain_mixture(logprobs, jnp.array([0.5, 0.5]), jnp.ones((1, 2))).weights[0, 1].round(2))
  [0.75 0.25]
  """
  if logprobs.ndim != 3 or logprobs[:, 0].shape != mask.shape or prior.shape != logprobs.shape[1:2]:
    raise ValueError(
      "domain_mixture: expected logprobs [B K T], prior [K] and mask [B T], "
      f"got {logprobs.shape}, {prior.shape} and {mask.shape}"
    )
  logprobs = zero_masked(logprobs, mask[:, None])
  seen = jax.vmap(running_sums, in_axes=1, out_axes=1)(logprobs) - logprobs
  log_weights = jax.nn.log_softmax(_log(prior) + jnp.swapaxes(seen, 1, 2))
  mixed = jax.nn.logsumexp(log_weights + jnp.swapaxes(logprobs, 1, 2), axis=2)
  return DomainMixture(zero_masked(mixed, mask), zero_masked(jnp.exp(log_weights), mask[..., None]))


def _log(prior):
  """log prior, or a very low value if the prior is 0."""
  prior = widen(prior)
  return jnp.where(prior > 0, jnp.log(jnp.where(prior > 0, prior, 1)), -1e30)


def cached_prior(log_likelihoods: Float[Array, "N K"], *, decay: float = 0.3, form: str = "btm") -> Float[Array, " K"]:
  """prior proportional to sum_n decay^n p(D = k | text n), n = 1 .. N, posteriors under a uniform prior.

  Branch-Train-Merge, as described in HDEE, arXiv 2502.19385: N = 100 texts. `form` "running" is HDEE's code: P_0 = 1,
  P_n = decay^n P_{n-1} + the posterior of text n under P_{n-1}, normalised at the end. Uniform without texts.

  >>> print(cached_prior(jnp.log(jnp.array([[0.75, 0.25], [0.25, 0.75]])), decay=1.0))
  [0.5 0.5]
  """
  known_option("cached_prior", "form", form, ("btm", "running"))
  if log_likelihoods.ndim != 2 or not log_likelihoods.shape[1]:
    raise ValueError(f"cached_prior: expected log_likelihoods [N K], K of at least 1, got {log_likelihoods.shape}")
  log_likelihoods = widen(log_likelihoods)
  count, experts = log_likelihoods.shape
  powers = decay ** jnp.arange(1, count + 1, dtype=log_likelihoods.dtype)
  if form == "btm":
    total = powers @ jax.nn.softmax(log_likelihoods)
  else:

    def step(total, text):
      likelihoods, power = text
      return power * total + jax.nn.softmax(likelihoods + _log(total)), None

    total = jax.lax.scan(step, jnp.ones(experts, powers.dtype), (log_likelihoods, powers))[0]
  return jnp.where(total.sum() > 0, total / jnp.where(total.sum() > 0, total.sum(), 1), 1 / experts)


def geometric_mixture(logprobs: Float[Array, "*N K V"]) -> Float[Array, "*N V"]:
  """log softmax of the mean of the experts' log distributions: a product of experts, normalised.

  The baseline of HDEE, arXiv 2502.19385, whose code omits the normalisation. -inf for all tokens if no token is
  possible under every expert.

  >>> print(jnp.exp(geometric_mixture(jnp.log(jnp.array([[0.2, 0.8], [0.8, 0.2]])))).round(1))
  [0.5 0.5]
  """
  means = widen(logprobs).mean(axis=-2)
  possible = (means > -jnp.inf).any(axis=-1, keepdims=True)
  return jnp.where(possible, jax.nn.log_softmax(jnp.where(possible, means, 0)), -jnp.inf)


def iso_compute_steps(ratios: Num[Array, " K"], costs: Num[Array, " K"], *, budget: float) -> Int[Array, " K"]:
  """Steps of each expert in proportion to `ratios`, with sum of cost times steps = budget, up to rounding.

  HDEE, arXiv 2502.19385: `costs` are FLOPs per step, or 1 for equal models, with a budget in steps. It uses 3 : 4 : 5
  by difficulty in place of 4 : 4 : 4. All steps are 0 if all ratios are 0.

  >>> print(iso_compute_steps(jnp.array([3, 4, 5]), jnp.ones(3), budget=1200))
  [300 400 500]
  """
  same_shape("iso_compute_steps", "K", ratios=ratios, costs=costs)
  ratios = widen(ratios)
  total = (ratios * widen(costs)).sum()
  return jnp.round(budget * ratios / jnp.where(total > 0, total, 1)).astype(jnp.int32)
