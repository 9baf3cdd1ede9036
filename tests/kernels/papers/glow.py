"""GLOW, MABO.CR and H2O."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.curricula.hybrid import hybrid_rows
from rl_jax.kernels.density_ratios import bellman, coverage
from rl_jax.kernels.density_ratios.weights import mixture_weights, prefix_weights, truncated_weights
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  if case.startswith("glow"):
    return version_space(**inputs)
  kinds = {"gamma_n": mabo_cr, "mu": covered, "ws": mixture, "logprobs": prefixes, "offline": hybrid}
  return next(kind for name, kind in kinds.items() if name in inputs)(**inputs)


def _residuals(f_sa, f_next, rewards):
  every = jnp.ones(rewards.shape)
  return bellman.bellman_residuals(f_sa, f_next, rewards, every), every


@quick_jit
def _space(f_sa, f_next, rewards, weights, init_value, schedule):
  residuals, every = _residuals(f_sa, f_next, rewards)
  worst = bellman.glow_statistics(residuals, weights, every, schedule.cap, schedule.penalty)
  return worst, bellman.version_space(worst, init_value, schedule.threshold)


def version_space(t, gamma, K, T, H, delta, num_F, num_W, alpha_scale, beta_scale, **arrays):
  schedule = bellman.glow_schedule(
    jnp.asarray(t, arrays["f_sa"].dtype),
    slope=gamma,
    horizon=H,
    iterations=T,
    rollouts=K,
    value_functions=num_F,
    weight_functions=num_W,
    delta=delta,
    penalty_scale=alpha_scale,
    threshold_scale=beta_scale,
  )
  worst, (members, chosen) = _space(**arrays, schedule=schedule)
  threshold = schedule.threshold if np.isfinite(schedule.threshold) else str(schedule.threshold)
  return {
    "gamma_t": schedule.cap,
    "alpha_t": schedule.penalty,
    "beta_t": threshold,
    "worst_stat": worst,
    "member": members,
    "optimistic": chosen,
  }


@quick_jit
def _minimax(f_sa, f_next, rewards, weights, cap, penalty):
  residuals, every = _residuals(f_sa, f_next, rewards)
  found = bellman.mabo_cr(residuals, weights, every, cap, penalty)
  return {"argmin": found.chosen, "values": found.objectives}


def mabo_cr(gamma_n, alpha_n, **arrays):
  dtype = arrays["weights"].dtype
  return _minimax(**arrays, cap=jnp.asarray(gamma_n, dtype), penalty=jnp.asarray(alpha_n, dtype))


def covered(d_pis, mu, gamma):
  covers = lambda cap: coverage.clipped_concentrability(d_pis, mu, jnp.asarray(cap))
  whole = covers(gamma)
  return {
    "CC_1": whole[0],
    "CC_2": whole[1],
    "CC_2_gamma_half": covers(0.5)[1],
    "coverability": coverage.coverability(d_pis[:, None]).coefficient,
  }


def mixture(ws):
  return {"mixture": [x if np.isfinite(x) else str(x) for x in np.asarray(mixture_weights(ws))]}


def prefixes(logprobs, old_logprobs_list, gamma_t):
  weights = prefix_weights(logprobs[None], old_logprobs_list[None], jnp.ones((1, logprobs.size)))
  return {"weights": weights[0], "clipped": truncated_weights(weights[0], jnp.asarray(gamma_t))}


def hybrid(offline, online, t):
  rows = hybrid_rows(jnp.array(t), offline=offline.size, online=online.size)
  return {"hybrid": jnp.concatenate([offline[rows.offline], online[rows.online]])}
