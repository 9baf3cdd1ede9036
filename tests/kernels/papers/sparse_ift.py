"""Sparse iso-FLOP transformations and RigL."""

from __future__ import annotations

import jax.numpy as jnp

from rl_jax.kernels.layers import iso_flop
from tests.kernels.kernel import quick_jit

SIZES = {"wide": "k", "parallel": "k", "factorized": "d_mid_real", "doped": "rank_real"}
INNER = {"parallel": "branches", "factorized": "d_mid", "doped": "rank"}


def compute(case, inputs):
  kinds = {"family": shape, "params": forward, "grad": regrow}
  return next((kind for name, kind in kinds.items() if name in inputs), schedule)(**inputs)


def shape(family, d_in, d_out, sparsity, kernel):
  found = iso_flop.sparse_shape(family, d_in, d_out, sparsity, kernel)
  exact = (1 - sparsity) * kernel * (found.exact * d_in) * (found.exact * d_out)
  outputs = {
    SIZES[family]: found.exact,
    "flops_real": exact if family == "wide" else found.dense_flops,
    "flops_code": found.flops,
    "dense_flops": found.dense_flops,
  }
  sizes = {"d_in": found.inputs, "d_out": found.outputs} if family == "wide" else {INNER[family]: found.inner}
  return outputs | sizes


def forward(x, params):
  p = {name: jnp.asarray(value, x.dtype) for name, value in params.items()}
  layer, names = {
    frozenset("WM"): (iso_flop.parallel_layer, ("W", "M")),
    frozenset(("U", "MU", "V", "MV")): (iso_flop.factorized_layer, ("U", "MU", "V", "MV")),
    frozenset("WMUV"): (iso_flop.doped_layer, ("W", "M", "U", "V")),
  }[frozenset(p)]
  return {"y": quick_jit(layer)(x, *(p[name] for name in names))}


def regrow(weight, grad, mask, sparsity, drop_fraction):
  update = quick_jit(lambda *a: iso_flop.rigl_update(*a, sparsity=sparsity))
  found = update(weight, grad, mask, jnp.asarray(drop_fraction))
  return {"mask": found.mask, "grown": jnp.flatnonzero(found.grown), "weight": found.weights}


def schedule(total_steps, end_fraction, frequency, init):
  # The steps are not in the case.
  options = {"total_steps": total_steps, "end": end_fraction, "frequency": frequency, "start": init}
  drop = iso_flop.rigl_schedule(jnp.array([100, 300, 500, 700]), **options)
  update = iso_flop.rigl_schedule(jnp.array([0, 50, 100, 700, 750, 800]), **options).update
  return {"drop_fraction": drop.fraction, "update": update}
