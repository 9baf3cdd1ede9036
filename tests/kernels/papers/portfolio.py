"""Universal combinations (inspired by arXiv 2406.03652), their baselines and statistics."""

from __future__ import annotations

import math
from functools import partial

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.analysis import universal
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  if "portfolios" in inputs:
    return {"z": universal.component_payoffs(**inputs)}
  return combined(**inputs)


def combined(z, parts, eta, groups):
  def outputs(z):
    combine = partial(universal.universal_combination, parts=parts)
    found = {"universal": combine(z), "eta": combine(z, eta=eta), "ftl": combine(z, eta=math.inf)}
    final = {f"final_{name}": one.payoffs.prod() for name, one in found.items()}
    last = {f"lam_last_{name}": one.combinations[-1] for name, one in found.items()}
    statistics = universal.wealth_statistics(found["universal"].payoffs)
    components = jnp.log(z).sum(axis=0)
    results = {
      **final,
      **last,
      "final_buy_hold": jnp.exp(universal.buy_and_hold(z)[-1]),
      "components": jnp.exp(components),
      "best_constant_combination": jnp.exp(found["universal"].best_constant),
      "growth_universal": statistics.growth_rate,
      "universal_vs_best_component": universal.prefer(
        jnp.log(found["universal"].payoffs).sum(), components.max(), tolerance=1e-6
      ),
      "sharpe_universal": statistics.sharpe,
    }
    if groups is not None:
      inner = jnp.stack([combine(z[:, np.array(group)]).payoffs for group in groups], axis=1)
      results["final_grouped"] = combine(inner).payoffs.prod()
    return results

  groups = None if groups is None else np.asarray(groups)
  results = quick_jit(outputs)(z)
  sharpe = results["sharpe_universal"]
  return results | {"sharpe_universal": "inf" if np.isinf(sharpe) else sharpe}
