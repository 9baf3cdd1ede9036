"""HDEE: mixtures of experts' logprobs; the reference has experts first, or last, the kernels rows first."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.layers import ensemble
from rl_jax.kernels.reductions import masked_mean
from tests.kernels.kernel import quick_jit
from tests.kernels.papers.as_released import mean_of_log_distributions

MIXTURE = quick_jit(ensemble.domain_mixture)


def compute(case, inputs):
  kinds = {"mask": perplexity, "sequence_logliks": priors, "full_logprobs": average, "step_ratio": steps}
  return next((kind for name, kind in kinds.items() if name in inputs), mixture)(**inputs)


def mixture(token_logprobs, prior):
  found = MIXTURE(token_logprobs[None], prior, jnp.ones((1, token_logprobs.shape[1])))
  return {"weights": found.weights[0], "ensemble_logprobs": found.logprobs[0]}


def perplexity(token_logprobs, prior, mask):
  found = MIXTURE(token_logprobs, prior, mask)
  return {"perplexity": jnp.exp(-masked_mean(found.logprobs, mask).value)}


def priors(sequence_logliks, decay):
  of = quick_jit(lambda x: [ensemble.cached_prior(x, decay=decay, form=form) for form in ("btm", "running")])
  return dict(zip(("btm", "authors_code"), of(sequence_logliks), strict=True))


def average(full_logprobs, labels):
  averaged = mean_of_log_distributions(full_logprobs.swapaxes(0, 1))
  return {"nll": -jnp.take_along_axis(averaged, labels[:, None], axis=1).mean()}


def steps(difficulty, total_steps, step_ratio):
  ratios = np.array([step_ratio[name] for name in difficulty])
  return {"steps": ensemble.iso_compute_steps(jnp.asarray(ratios), jnp.ones(ratios.size), budget=total_steps)}
