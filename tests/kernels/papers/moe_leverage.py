"""Efficiency leverage: the joint law, ratios of layers, laws of hyperparameters, and the loss of a fit."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.layers import leverage
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  kinds = {"A": law, "num_experts": layer, "points": measured}
  return next((kind for name, kind in kinds.items() if name in inputs), budgets)(**inputs)


def _number(x):
  return jnp.asarray(x, float)


@quick_jit
def _law(activation, granularity, compute):
  # The exponent is the logarithm of EL to the base Ahat, and Ahat what a law with exponent 1 gives.
  one = leverage.LeverageLaw(a=1.0, d=0.0, gamma=0.0, beta=0.0)
  level = leverage.efficiency_leverage(activation, granularity, compute)
  saturated = leverage.efficiency_leverage(activation, granularity, compute, one)
  return {"A_hat": saturated, "exponent": jnp.log(level) / jnp.log(saturated), "EL": level}


def law(A, G, C, base_C, base_G):
  assert (base_C, base_G) == (leverage.FITTED.compute_base, leverage.FITTED.granularity_base)
  best = leverage.FITTED.best_granularity
  return _law(_number(A), _number(G), _number(C)) | {"best_granularity": best}


def layer(num_experts, num_active, num_shared, d_model, d_expert, C):
  shape = leverage.expert_shape(num_experts, num_active, num_shared, d_model, d_expert)
  found = _law(_number(shape.activation), _number(shape.granularity), _number(C))
  ratios = {"A": shape.activation, "S": shape.sharing, "G": shape.granularity}
  return ratios | {name: found[name] for name in ("EL", "exponent")}


def budgets(C):
  rate, batch = leverage.moe_hyperparameters(_number(C))
  outputs = {"lr_moe": rate, "batch_tokens_moe": batch}
  for family in ("dense", "moe"):
    outputs |= dict(
      zip((f"M_opt_{family}", f"D_opt_{family}"), leverage.compute_allocation(_number(C), family=family), strict=True)
    )
  return outputs


def measured(C_moe, alpha_moe, beta_moe, alpha_dense, beta_dense, points, delta):
  loss = _number(alpha_moe * C_moe**-beta_moe)
  dense = leverage.equivalent_compute(loss, alpha_dense, beta_dense)
  activation, granularity, budget, level = np.asarray(points).T
  predicted = leverage.efficiency_leverage(activation, granularity, budget)
  losses = leverage.leverage_fit(predicted, jnp.asarray(level), jnp.ones(level.size), delta=delta)
  return {"EL": dense / C_moe, "loss": loss, "C_dense": dense, "fit_objective": losses.sum()}
