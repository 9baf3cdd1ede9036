"""Monarch matrices: layer, dense form and projection."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.layers.block_diagonal import monarch, monarch_dense, monarch_projection, monarch_shapes
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  if case == "linear_shapes":
    return shapes(**inputs)
  if case.startswith("dft"):
    return fourier(**inputs)
  if "A" not in inputs:
    return _layer(**inputs)
  outputs = projection(**inputs)
  return {"error_fro": outputs["error_fro"]} if case == "project_is_identity_on_monarch" else outputs


@quick_jit
def _layer(x, w1, w2):
  return {"y": monarch(x, w1, w2), "dense": monarch_dense(w1, w2)}


@partial(jax.jit, static_argnums=1)
def _project(matrix, blocks):
  nearest = monarch_dense(*monarch_projection(matrix, blocks=blocks))
  return {"projection": nearest, "error_fro": jnp.linalg.norm(matrix - nearest), "norm_fro": jnp.linalg.norm(matrix)}


def projection(A, sizes):
  outputs = _project(A, tuple(sizes.tolist()))
  np.testing.assert_allclose(_project(A, None)["error_fro"], outputs["error_fro"])  # the sizes are the default's
  return outputs


def fourier(n, perm, norm):
  matrix = np.fft.fft(np.eye(n), norm=norm)[:, perm]
  return {"error_fro": _project(jnp.asarray(matrix), None)["error_fro"]}


def shapes(pairs, nblocks):
  found = [monarch_shapes(*pair, blocks=nblocks) for pair in pairs.tolist()]
  described = [
    {
      "blkdiag1": shape.first,
      "blkdiag2": shape.second,
      "params": shape.parameters,
      "saving": shape.parameters / (inputs * outputs),
    }
    for shape, (inputs, outputs) in zip(found, pairs.tolist(), strict=True)
  ]
  return {"shapes": described, "init_bound_16": found[0].bounds[0]}
