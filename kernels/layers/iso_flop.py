"""Sparse iso-FLOP transformations: a larger sparse layer in place of a dense one, with the same multiply-adds.

Sparse-IFT, arXiv 2303.11525: four shapes and one hyperparameter, the sparsity s. Masks are 1 on weights that exist.
RigL searches for masks during training: `rigl_update` at the steps of `rigl_schedule`. First and last layer, norms and
biases stay dense; initial weights scaled by 1 / sqrt(1 - s) keep the variance of the output (our advice).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option
from rl_jax.kernels.layers._activations import activation_of
from rl_jax.kernels.reductions import widen

FAMILIES = ("wide", "parallel", "factorized", "doped")


class SparseShape(NamedTuple):
  """Sizes of the layer that replaces a dense one. A field that a family does not change is the dense layer's, or 1."""

  inputs: int
  outputs: int
  inner: int
  """Branches (parallel), width between the factors (factorized) or rank (doped)."""
  exact: float
  """Exact size before rounding: the factor of both widths (wide), else `inner`."""
  flops: float
  """Multiply-adds per position after rounding."""
  dense_flops: float


class Regrowth(NamedTuple):
  """The new mask, the mask of the weights that it adds to the kept ones, and the weights under the new mask."""

  mask: Bool[Array, "*S"]
  grown: Bool[Array, "*S"]
  weights: Float[Array, "*S"]


class Drop(NamedTuple):
  """Share of the weights to drop, and whether the mask is updated at this step."""

  fraction: Float[Array, "*N"]
  update: Bool[Array, "*N"]


def sparse_shape(family: str, inputs: int, outputs: int, sparsity: float, kernel: int = 1) -> SparseShape:
  """Sizes with kernel * inputs * outputs multiply-adds per position, as the dense layer has.

  Sparse-IFT, arXiv 2303.11525. `kernel` counts the taps of the first factor: 1 for a linear layer, 9 for 3 by 3.
  - "wide": both widths times sqrt(1 / (1 - s)), rounded down; the whole network is widened, except at its two ends.
  - "parallel": 1 / (1 - s) branches.
  - "factorized": inner width kernel in out / ((1 - s)(kernel in + out)), rounded up.
  - "doped": rank s kernel in out / (kernel in + out), rounded down, in addition to the sparse layer itself.

  >>> print(sparse_shape("factorized", 64, 128, 0.75).inner, sparse_shape("wide", 64, 128, 0.75)[:2])
  171 (128, 256)
  """
  known_option("sparse_shape", "family", family, FAMILIES)
  if not 0 < sparsity < 1 or min(inputs, outputs, kernel) < 1:
    raise ValueError(
      f"sparse_shape: expected 0 < sparsity < 1 and sizes of at least 1, got {sparsity}, {inputs}, {outputs}, {kernel}"
    )
  kept, dense, ends = 1 - sparsity, kernel * inputs * outputs, kernel * inputs + outputs
  times = round(1 / kept)  # 1 / (1 - 0.99) is just below 100
  if family == "wide":
    wide, tall = (int(width * math.sqrt(times)) for width in (inputs, outputs))
    return SparseShape(wide, tall, 1, math.sqrt(1 / kept), kept * kernel * wide * tall, dense)
  if family == "parallel":
    return SparseShape(inputs, outputs, times, 1 / kept, times * kept * dense, dense)
  if family == "factorized":
    exact = dense / (kept * ends)
    return SparseShape(inputs, outputs, math.ceil(exact), exact, kept * math.ceil(exact) * ends, dense)
  exact = sparsity * dense / ends
  return SparseShape(inputs, outputs, int(exact), exact, kept * dense + int(exact) * ends, dense)


def _masked(x, weight, mask):
  """x (W M)^T over the last axis of x; W may hold any value where the mask M is 0."""
  return x @ jnp.where(mask != 0, widen(weight), 0).T


def parallel_layer(
  x: Float[Array, "*N I"], weights: Float[Array, "J O I"], masks: Num[Array, "J O I"], *, activation: str = "relu"
) -> Float[Array, "*N O"]:
  """sigma(sum_j (W_j M_j) x): one non-linearity, after the sum of the branches.

  Sparse-IFT, arXiv 2303.11525; its code normalises each branch before the sum. With one branch this is the masked
  linear layer of the "wide" family. If all weights are masked, it gives sigma(0).

  >>> weights, masks = jnp.ones((2, 1, 2)), jnp.array([[[1, 0]], [[0, 0]]])
  >>> print(parallel_layer(jnp.array([3.0, 4.0]), weights, masks))
  [3.]
  """
  if weights.ndim != 3 or masks.shape != weights.shape or x.shape[-1] != weights.shape[2]:
    raise ValueError(
      f"parallel_layer: expected x [... I], weights and masks [J O I], got {x.shape}, {weights.shape}, {masks.shape}"
    )
  folded = jnp.where(masks != 0, widen(weights), 0).sum(axis=0)
  return activation_of("parallel_layer", activation)(widen(x) @ folded.T)


def factorized_layer(
  x: Float[Array, "*N I"],
  first: Float[Array, "M I"],
  first_mask: Num[Array, "M I"],
  second: Float[Array, "O M"],
  second_mask: Num[Array, "O M"],
  *,
  activation: str = "relu",
) -> Float[Array, "*N O"]:
  """(V M_V) sigma((U M_U) x): both factors sparse.

  Sparse-IFT, arXiv 2303.11525, which applies weight decay to the product of the factors.

  >>> eye = jnp.eye(2)
  >>> print(factorized_layer(jnp.array([3.0, -4.0]), eye, eye, jnp.array([[1.0, 1.0]]), jnp.ones((1, 2))))
  [3.]
  """
  shapes = x.shape[-1:], first.shape, second.shape
  if (
    first_mask.shape != first.shape or second_mask.shape != second.shape or shapes[1] != (second.shape[1], x.shape[-1])
  ):
    raise ValueError(
      "factorized_layer: expected x [... I], first [M I], second [O M] and masks like them, "
      f"got {x.shape}, {first.shape}, {second.shape}, {first_mask.shape} and {second_mask.shape}"
    )
  inner = activation_of("factorized_layer", activation)(_masked(widen(x), first, first_mask))
  return _masked(inner, second, second_mask)


def doped_layer(
  x: Float[Array, "*N I"],
  weight: Float[Array, "O I"],
  mask: Num[Array, "O I"],
  first: Float[Array, "R I"],
  second: Float[Array, "O R"],
) -> Float[Array, "*N O"]:
  """(W M) x + V (U x): a sparse layer and a dense one of low rank, linear.

  Sparse-IFT, arXiv 2303.11525.

  >>> x, one = jnp.array([3.0, 4.0]), jnp.ones((1, 2))
  >>> print(doped_layer(x, one, jnp.array([[1, 0]]), one, jnp.ones((1, 1))))
  [10.]
  """
  if weight.shape != mask.shape or weight.shape != (second.shape[0], first.shape[1]) or x.shape[-1:] != first.shape[1:]:
    raise ValueError(
      "doped_layer: expected x [... I], weight and mask [O I], first [R I] and second [O R], "
      f"got {x.shape}, {weight.shape}, {mask.shape}, {first.shape} and {second.shape}"
    )
  x = widen(x)
  return _masked(x, weight, mask) + (x @ widen(first).T) @ widen(second).T


def rigl_update(
  weights: Float[Array, "*S"],
  gradients: Float[Array, "*S"],
  mask: Num[Array, "*S"],
  drop_fraction: Float[Array, ""],
  *,
  sparsity: float,
) -> Regrowth:
  """Drop the floor(f n_on) smallest |w|, then grow the largest |gradient| of all that is off, up to floor((1 - s) n).

  RigL, arXiv 1911.11134, as in the code of Sparse-IFT, arXiv 2303.11525. `gradients` are those of the dense layer. A
  weight that was just dropped may come back and then keeps its value; a new weight starts at 0. Ties go to the lower
  index. The caller zeroes momenta and gradients of masked entries.

  >>> weights, gradients = jnp.array([0.5, 0.1, 0.0]), jnp.array([0.0, 0.0, 2.0])
  >>> print(rigl_update(weights, gradients, jnp.array([1, 1, 0]), jnp.array(0.5), sparsity=0.3).mask)
  [ True False  True]
  """
  if not weights.shape == gradients.shape == mask.shape:
    raise ValueError(
      "rigl_update: expected weights, gradients and mask of one shape, "
      f"got {weights.shape}, {gradients.shape} and {mask.shape}"
    )
  on = (mask != 0).ravel()
  weights, gradients = widen(weights).ravel(), widen(gradients).ravel()
  rank = lambda keys: jnp.argsort(jnp.argsort(keys, stable=True), stable=True)
  size = on.sum(dtype=jnp.int32)
  # Rounding must not push the product of a share and a count below an integer.
  drop = jnp.floor(widen(jnp.asarray(drop_fraction)) * size + 1e-4).astype(jnp.int32)
  kept = on & (rank(jnp.where(on, jnp.abs(weights), jnp.inf)) >= drop)
  room = int((1 - sparsity) * on.size + 1e-9) - kept.sum(dtype=jnp.int32)
  grown = ~kept & (rank(jnp.where(kept, jnp.inf, -jnp.abs(gradients))) < room)
  new = kept | grown
  restored = jnp.where(new & on, weights, 0)
  return Regrowth(*(x.reshape(mask.shape) for x in (new, grown, restored)))


def rigl_schedule(
  step: Int[Array, "*N"], *, total_steps: int, start: float = 0.3, end: float = 0.75, frequency: int = 100
) -> Drop:
  """f = start (1 + cos(pi t / T)) / 2, T = end total_steps; an update every `frequency` steps for 0 < t < T.

  Sparse-IFT, arXiv 2303.11525.

  >>> drop = rigl_schedule(jnp.array([0, 400, 800]), total_steps=1000, end=0.8)
  >>> print([f"{x:.2f}" for x in drop.fraction], drop.update)
  ['0.30', '0.15', '0.00'] [False  True False]
  """
  if min(total_steps, frequency) < 1:
    raise ValueError(f"rigl_schedule: total_steps and frequency start at 1, got {total_steps} and {frequency}")
  last = end * total_steps
  step = jnp.asarray(step)
  fraction = start * (1 + jnp.cos(jnp.pi * jnp.minimum(widen(step) / last, 1))) / 2
  return Drop(fraction, (step > 0) & (step < last) & (step % frequency == 0))
