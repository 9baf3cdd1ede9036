"""PI-HC-MoE: the constraint u + c u^3 = target, by one expert or by several, and gradients through its solution."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from rl_jax.kernels.layers.constraints import hard_constraint, partition, unpartition

SOLVER = {"max_iterations": 300, "tolerance": 1e-14}


def compute(case, inputs):
  """In float64 always: in float32 the solver comes as close as its rounding allows, about 1e-4 of these gradients."""
  with jax.enable_x64(True):
    return _compute(case, {name: _wide(value) for name, value in inputs.items()})


def _wide(x):
  return x.astype(jnp.float64) if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating) else x


def _compute(case, inputs):
  if case == "partition_order":
    return {"partitioned": partition(inputs["array"], experts=tuple(inputs["experts"].tolist()))}
  return experts(**inputs) if "num_experts" in inputs else layer(**inputs)


def _excess(u, target, cubic):
  return u + cubic * u**3 - target


@partial(jax.jit, static_argnames=("ridge",))
def _layer(basis, target, omega_init, cotangent, cubic, ridge):
  def solution(basis, gradient):
    found = hard_constraint(_excess, basis, omega_init, target, cubic, ridge=ridge, gradient=gradient, **SOLVER)
    return cotangent @ found.weights, found

  found = solution(basis, "exact")[1]
  rows = jnp.concatenate([_excess(found.values, target, cubic), ridge * found.weights])
  outputs = {"omega": found.weights, "residual_norm": jnp.linalg.norm(rows)}
  for form in ("exact", "paper"):
    outputs[f"grad_basis_{form}"] = jax.grad(solution, has_aux=True)(basis, form)[0]
  return outputs


def layer(cubic, ridge, **arrays):
  return _layer(**arrays, cubic=jnp.asarray(cubic, arrays["basis"].dtype), ridge=ridge)


@partial(jax.jit, static_argnames=("ridge", "num_experts"))
def _experts(basis, target, omega_init, cubic, ridge, num_experts):
  solve = lambda b, t: hard_constraint(_excess, b, omega_init, t, cubic, ridge=ridge, **SOLVER)
  pieces = (partition(x, experts=(num_experts,)) for x in (basis, target))
  found = jax.vmap(solve)(*pieces)
  u = unpartition(found.values, experts=(num_experts,))
  return {"omega": found.weights, "u": u, "constraint_residual_norm": jnp.linalg.norm(_excess(u, target, cubic))}


def experts(cubic, ridge, num_experts, **arrays):
  return _experts(**arrays, cubic=jnp.asarray(cubic, arrays["basis"].dtype), ridge=ridge, num_experts=num_experts)
