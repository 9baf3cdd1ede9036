"""The activation dense-to-sparse gate: one row a case."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from jax.scipy.special import entr

from rl_jax.kernels.layers import gating
from rl_jax.kernels.reductions import masked_mean
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  if "params" in inputs:
    return likelihood(**inputs)
  return interaction(**inputs) if case == "interaction" else gate(**inputs, alone=case == "single_expert")


def gate(x, beta1, beta0, tau, activation, alone):
  one = jnp.ones(1)
  gates = lambda *args: [
    gating.activation_gate(*args, activation=activation, bias_inside=inside).weights[0] for inside in (False, True)
  ]
  outside, inside = quick_jit(gates)(x[None], beta1, beta0, tau, one)
  return {"gate": outside} if alone else {"gate": outside, "entropy": entr(outside).sum(), "gate_bias_inside": inside}


def likelihood(xs, ys, params, activation):
  p = {name: jnp.asarray(value, xs.dtype) for name, value in params.items()}
  every = jnp.ones(len(ys))

  def mixture(xs, ys):
    gate = gating.activation_gate(xs, p["beta1"], p["beta0"], p["tau"], every, activation=activation)
    found = gating.gaussian_mixture(gate.log_weights, xs @ p["a"].T + p["b"], p["nu"], ys, every)
    return masked_mean(found.losses, every).value, found.predictions

  return dict(zip(("nll", "outputs"), quick_jit(mixture)(xs, ys), strict=True))


def interaction(x, beta1, tau):
  residual = partial(gating.temperature_interaction, x @ beta1, jnp.asarray(tau, x.dtype))
  # The reference keeps eight decimals.
  return {name: residual(activation=name).round(8) for name in ("identity", "sigmoid", "tanh", "gelu")}
