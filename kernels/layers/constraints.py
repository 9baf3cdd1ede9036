"""Layers that end in a solver: weights of basis functions that meet a constraint, with gradients through the solution.

PI-HC-MoE, arXiv 2402.13412: a network gives N basis functions instead of the answer, and least squares over points find
how to combine them. The domain is cut into pieces, each solved by its own expert: `jax.vmap` of `hard_constraint` over
`partition`. Gradients come from the implicit function theorem, not from unrolled iterations. Use float64 for the
solver.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels._checks import known_option
from rl_jax.kernels.reductions import widen, zero_masked


class Constrained(NamedTuple):
  """Weights of the basis functions, and their combination at all points, including those that were not sampled."""

  weights: Float[Array, " N"]
  values: Float[Array, " m"]


def hard_constraint(
  residual: Callable[..., Array],
  basis: Float[Array, "m N"],
  initial: Float[Array, " N"],
  *data: Array,
  mask: Num[Array, " m"] | None = None,
  ridge: float = 1e-4,
  max_iterations: int = 50,
  tolerance: float = 1e-7,
  gradient: str = "exact",
) -> Constrained:
  """omega = argmin |F(b omega)|^2 + |ridge omega|^2, and u = b omega.

  PI-HC-MoE, arXiv 2402.13412. `residual(u, *data)` gives the constraint's residuals F: [m], of which those at the
  points that `mask` marks count, or, without a mask, any number (such as rows of initial and boundary conditions).
  Levenberg-Marquardt steps delta solve (J^T J + lambda I) delta = -J^T r; a step that lowers the cost divides lambda by
  10, any other is rejected and multiplies lambda by 10, until a step is below `tolerance` times 1 + |omega| or all
  steps are used. Gradients reach the basis and everything that `residual` reads. `gradient`: "exact" differentiates the
  stationarity J^T r = 0, with the second derivatives of r in its Hessian (our derivation); "paper" solves
  dF/domega domega = -dF/db db by least squares, as in equation 5, which is exact only if no residual is left. A
  singular matrix (two equal basis functions without ridge) has no gradient.

  >>> basis, target = jnp.array([[1.0], [2.0]]), jnp.array([2.0, 4.0])
  >>> print(hard_constraint(lambda u, y: u - y, basis, jnp.zeros(1), target, ridge=0.0).weights.round(3))
  [2.]
  """
  known_option("hard_constraint", "gradient", gradient, ("exact", "paper"))
  if basis.ndim != 2 or initial.shape != basis.shape[1:] or (mask is not None and mask.shape != basis.shape[:1]):
    raise ValueError(
      "hard_constraint: expected basis [m N], initial [N] and mask [m], "
      f"got {basis.shape}, {initial.shape} and {None if mask is None else mask.shape}"
    )
  basis, initial = widen(basis), widen(initial)

  def rows(omega):
    found = residual(basis @ omega, *data)
    return jnp.concatenate([found if mask is None else zero_masked(found, mask), ridge * omega])

  def stationarity(omega):
    values, transposed = jax.vjp(rows, omega)
    if gradient == "exact":
      return transposed(values)[0]
    jacobian = jax.lax.stop_gradient(jax.jacobian(rows)(omega))
    return jacobian.T @ values

  def linear(matrix_product, right):
    return jnp.linalg.solve(jax.jacobian(matrix_product)(jnp.zeros_like(right)), right)

  solve = lambda _, start: _levenberg_marquardt(rows, start, max_iterations, tolerance)
  omega = jax.lax.custom_root(stationarity, initial, solve, linear)
  return Constrained(omega, basis @ omega)


def _levenberg_marquardt(rows, start, max_iterations, tolerance):
  slope = jax.value_and_grad(lambda omega: jnp.square(rows(omega)).sum() / 2)
  identity, rounding = jnp.eye(start.shape[0], dtype=start.dtype), 8 * jnp.finfo(start.dtype).eps

  def step(state):
    omega, (cost, gradient), damping, _, count = state
    jacobian = jax.jacobian(rows)(omega)
    change = jnp.linalg.solve(jacobian.T @ jacobian + damping * identity, -gradient)
    after, gradient_after = slope(omega + change)
    # Costs that differ only by rounding no longer show which point is closer, but their gradients do.
    flatter = jnp.abs(gradient_after).max() < jnp.abs(gradient).max()
    better = (after < cost * (1 - rounding)) | ((after <= cost * (1 + rounding)) & flatter)
    small = jnp.abs(change).max() <= tolerance * (1 + jnp.abs(omega).max())
    moved = jax.tree.map(
      lambda new, old: jnp.where(better, new, old), (omega + change, (after, gradient_after)), (omega, (cost, gradient))
    )
    return *moved, jnp.where(better, damping / 10, damping * 10), small, count + 1

  unfinished = lambda state: ~state[3] & (state[4] < max_iterations)
  state = start, slope(start), jnp.asarray(1e-3, start.dtype), jnp.asarray(False), 0
  return jax.lax.while_loop(unfinished, step, state)[0]


def partition(x: Num[Array, "*S"], *, experts: tuple[int, ...]) -> Num[Array, "E *P"]:
  """Cut the first axes of x into that many pieces each, in order, and stack the pieces on a new first axis.

  PI-HC-MoE, arXiv 2402.13412: the number of a piece is i_1 + e_1 i_2 + e_1 e_2 i_3, first axis fastest. Every expert
  gets the rows of all initial and boundary conditions, or only those of its piece.

  >>> print(partition(jnp.arange(8).reshape(2, 4), experts=(1, 2))[1])
  [[2 3]
   [6 7]]
  """
  _check("partition", x.shape, experts)
  grid = [size for total, count in zip(x.shape, experts, strict=False) for size in (count, total // count)]
  cut = len(experts)
  order = [2 * i for i in reversed(range(cut))] + [2 * i + 1 for i in range(cut)]
  rest = list(range(2 * cut, x.ndim + cut))
  pieces = x.reshape(*grid, *x.shape[cut:]).transpose(*order, *rest)
  return pieces.reshape(-1, *pieces.shape[cut:])


def unpartition(pieces: Num[Array, "E *P"], *, experts: tuple[int, ...]) -> Num[Array, "*S"]:
  """The inverse of `partition`.

  PI-HC-MoE, arXiv 2402.13412.

  >>> x = jnp.arange(8).reshape(2, 4)
  >>> print(unpartition(partition(x, experts=(2, 2)), experts=(2, 2)))
  [[0 1 2 3]
   [4 5 6 7]]
  """
  cut = len(experts)
  if pieces.ndim <= cut or pieces.shape[0] != math.prod(experts):
    raise ValueError(f"unpartition: expected {math.prod(experts)} pieces with {cut} axes, got {pieces.shape}")
  grid = pieces.reshape(*reversed(experts), *pieces.shape[1:])
  order = [axis for i in range(cut) for axis in (cut - 1 - i, cut + i)]
  rest = list(range(2 * cut, grid.ndim))
  whole = [count * size for count, size in zip(experts, pieces.shape[1:], strict=False)]
  return grid.transpose(*order, *rest).reshape(*whole, *pieces.shape[1 + cut :])


def _check(function, shape, experts):
  fits = len(shape) >= len(experts) and min(experts, default=1) > 0
  if not fits or any(total % count for total, count in zip(shape, experts, strict=False)):
    raise ValueError(f"{function}: expected axes that {experts} experts divide, got {shape}")
