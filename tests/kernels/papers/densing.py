"""Densing Law (arXiv 2412.04315): densities from scores, their trend, and the loss they begin with."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.analysis import scaling_laws
from rl_jax.kernels.losses.supervised import negative_log_likelihood
from rl_jax.kernels.reductions import aggregate
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  if "fit" in inputs:
    fit = inputs.pop("fit")
    loss_law = scaling_laws.LossLaw(*(fit[name] for name in ("a", "alpha", "b", "beta")))
    laws = loss_law, scaling_laws.ScoreLaw(*(fit[name] for name in ("c", "gamma", "l", "d")))
    return roundtrip(*laws, **inputs) if "N" in inputs else density(case, *laws, **inputs)
  return {"trend": trend, "constants": constants, "conditional_loss": conditional_loss}[case](**inputs)


@quick_jit
def _density(scores, num_params, loss_law, score_law, tokens):
  return scaling_laws.capability_density(scores, num_params, loss_law, score_law, num_tokens=tokens)


@quick_jit
def _score(num_params, loss_law, score_law, tokens):
  loss = scaling_laws.scaling_loss(num_params, tokens, loss_law)
  return loss, scaling_laws.score_from_loss(loss, score_law)


def as_json(x):
  return float(x) if np.isfinite(x) else "nan" if np.isnan(x) else "inf"


def density(case, loss_law, score_law, score, num_params, D0):
  found = _density(jnp.array([score]), jnp.array([num_params]), loss_law, score_law, D0)
  outputs = dict(zip(("loss", "effective_params", "density"), (as_json(x[0]) for x in found), strict=True))
  if case != "unreachable":
    return outputs
  outputs["data_term"] = _score(jnp.array([jnp.inf]), loss_law, score_law, D0)[0][0]
  return {name: outputs[name] for name in ("loss", "data_term", "effective_params")}


def roundtrip(loss_law, score_law, N, D0):
  loss, score = _score(jnp.array([N]), loss_law, score_law, D0)
  recovered = _density(score, jnp.array([N]), loss_law, score_law, D0)
  return {"loss": loss[0], "score": score[0], "recovered_N": recovered.effective_params[0]}


def trend(days, density):
  found = quick_jit(scaling_laws.density_trend)(days, density, jnp.ones(days.shape))
  return {
    "envelope": np.flatnonzero(found.records),
    "A": found.slope,
    "B": found.intercept,
    "r2": found.r2,
    "doubling_days": found.doubling_time,
  }


def constants(A, moore_years):
  chips = moore_years * 365
  days = scaling_laws.DensityTrend(jnp.asarray(A), *[None] * 3).doubling_time
  return {
    "doubling_days": days,
    "combined_from_100_days": scaling_laws.combined_doubling_time(100.0, chips),
    "combined_from_A": scaling_laws.combined_doubling_time(days, chips),
  }


def conditional_loss(logprobs, mask):
  losses = negative_log_likelihood(logprobs[None], mask[None])
  return {"loss": aggregate(losses, mask[None], mode="token_mean").value}
