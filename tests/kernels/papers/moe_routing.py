"""The congestion game of expert routing."""

from __future__ import annotations

import jax.numpy as jnp

from rl_jax.kernels.layers import routing
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  kinds = {"top_idx": tokens, "quality_types": types, "gamma": equilibrium, "loads": coefficient}
  return next(kind for name, kind in kinds.items() if name in inputs)(**inputs)


def balance(loads):
  return dict(zip(("max_over_mean", "cv", "entropy_norm"), routing.load_balance(loads), strict=True))


@quick_jit
def coefficient(quality, loads):
  return {"gamma_eff": routing.congestion_coefficient(quality, loads)} | balance(loads)


@quick_jit
def _equilibrium(quality, gamma):
  loads = routing.congestion_equilibrium(quality[None], jnp.ones(1), gamma)
  temperature, distance = routing.routing_temperature(quality, loads)
  return {
    "loads": loads,
    "gamma_recovered": routing.congestion_coefficient(quality, loads),
    "T_fit": temperature,
    "T_linear": 1 + gamma / quality.size,
    "l1_temperature": distance,
  } | balance(loads)


TYPES = quick_jit(routing.congestion_equilibrium)


def equilibrium(quality, gamma):
  return _equilibrium(quality, jnp.asarray(gamma, quality.dtype))


def types(quality_types, weights, gamma):
  gamma = jnp.asarray(gamma, weights.dtype)
  pooled = (weights @ quality_types)[None]
  loads = TYPES(quality_types, weights, gamma), TYPES(pooled, jnp.ones(1), gamma)
  return dict(zip(("loads", "single_type_loads"), loads, strict=True))


def tokens(top_idx, router_logits, mask, num_experts):
  def statistics(top_idx, router_logits, mask):
    loads = routing.expert_loads(top_idx, mask, num_experts=num_experts)
    return {"loads": loads, "quality": routing.expert_quality(router_logits, top_idx, mask)}

  found = quick_jit(statistics)(top_idx, router_logits, mask)
  return found | coefficient(found["quality"], found["loads"])
