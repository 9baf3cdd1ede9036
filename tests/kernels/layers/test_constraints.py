from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.layers.constraints import hard_constraint, partition, unpartition
from tests.kernels.kernel import Kernel, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
BASIS, TARGET, COTANGENT = RNG.normal(size=(6, 2)), RNG.normal(size=6), np.array([0.7, -1.3])
SOLVER = {"max_iterations": 200, "tolerance": 1e-13}


def cubic(u, target):
  return u + 0.1 * u**3 - target


def solve(basis, target, residual=cubic, **options):
  return hard_constraint(residual, basis, jnp.zeros(basis.shape[1]), target, **(SOLVER | options))


def test_linear_least_squares_in_closed_form():
  with jax.enable_x64(True):
    found = quick_jit(lambda b, y: solve(b, y, lambda u, y: u - y, ridge=0.5))(BASIS, TARGET)
  expected = np.linalg.solve(BASIS.T @ BASIS + 0.25 * np.eye(2), BASIS.T @ TARGET)
  np.testing.assert_allclose(found.weights, expected, rtol=1e-10)
  np.testing.assert_allclose(found.values, BASIS @ expected, rtol=1e-10)


def test_gradients_by_basis_and_data_against_the_solver_itself():
  """Where a residual is left the paper's form is far off; where none is, both are exact."""
  with jax.enable_x64(True):
    objective = quick_jit(lambda b, y: COTANGENT @ solve(b, y, ridge=1e-2).weights)
    by_basis = finite_difference(lambda b: float(objective(b, TARGET)), BASIS, step=1e-5)
    by_target = finite_difference(lambda y: float(objective(BASIS, y)), TARGET, step=1e-5)

    def gradients(basis, target, ridge):
      loss = lambda b, y, form: COTANGENT @ solve(b, y, ridge=ridge, gradient=form).weights
      return [jax.grad(loss, argnums=(0, 1))(basis, target, form) for form in ("exact", "paper")]

    exact, paper = quick_jit(lambda: gradients(jnp.asarray(BASIS), jnp.asarray(TARGET), 1e-2))()
    met = quick_jit(lambda: gradients(jnp.asarray(BASIS[:2]), jnp.asarray(TARGET[:2]), 0.0))()
  np.testing.assert_allclose(exact[0], by_basis, atol=1e-7)
  np.testing.assert_allclose(exact[1], by_target, atol=1e-7)
  assert np.abs(np.asarray(paper[0]) - by_basis).max() > 0.1
  for a, b in zip(*met, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-9)


def test_more_experts_meet_a_constraint_with_a_jump():
  """Two smooth functions on 8 points, as many equations as unknowns with four experts."""
  x = np.linspace(0, 1, 8)
  basis, target = np.stack([np.ones(8), x], axis=1), np.where(x < 0.45, -1.0, 2.0) + x**2
  with jax.enable_x64(True):
    left = []
    for count in (1, 2, 4):
      pieces = (partition(jnp.asarray(a), experts=(count,)) for a in (basis, target))
      found = quick_jit(jax.vmap(lambda b, y: solve(b, y, ridge=0.0)))(*pieces)
      left.append(float(jnp.linalg.norm(cubic(unpartition(found.values, experts=(count,)), target))))
  assert left[0] > 1.5 * left[1] > 0.01 > 1e-9 > left[2], left


def test_rewards_that_add_up_to_a_return():
  """Return decomposition: one equation for each of two episodes, met to the solver's tolerance."""
  episodes, returns = np.repeat(np.eye(2), 3, axis=1), np.array([1.0, -2.0])
  with jax.enable_x64(True):
    found = quick_jit(lambda b, r: solve(b, r, lambda u, r: jnp.asarray(episodes) @ u - r, ridge=0.0))(BASIS, returns)
    np.testing.assert_allclose(episodes @ np.asarray(found.values), returns, atol=1e-12)


def test_points_that_are_not_sampled_get_values_and_no_say():
  mask = jnp.array([1, 0, 1, 1, 0, 1])
  spoiled = np.where(mask, TARGET, np.nan)
  options = {"ridge": 0.1, "max_iterations": 20}
  found = quick_jit(lambda b, y: solve(b, y, mask=mask, **options))(BASIS, spoiled)
  fewer = quick_jit(lambda b, y: solve(b, y, **options))(BASIS[mask != 0], TARGET[mask != 0])
  np.testing.assert_allclose(found.weights, fewer.weights, rtol=1e-4)
  np.testing.assert_allclose(found.values, BASIS @ found.weights, rtol=1e-4)


def test_pieces_are_numbered_with_the_first_axis_fastest():
  x = jnp.arange(4 * 6 * 2 * 3).reshape(4, 6, 2, 3)
  pieces = partition(x, experts=(2, 3, 2))
  for i, j, k in np.ndindex(2, 3, 2):
    expected = x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2, k : k + 1]
    np.testing.assert_array_equal(pieces[i + 2 * j + 6 * k], expected)
  np.testing.assert_array_equal(unpartition(pieces, experts=(2, 3, 2)), x)


def test_wrong_calls_say_what_to_do():
  with pytest.raises(ValueError, match=r"basis \[m N\], initial \[N\] and mask \[m\], got \(6, 2\), \(3,\) and None"):
    hard_constraint(cubic, jnp.ones((6, 2)), jnp.ones(3), jnp.ones(6))
  with pytest.raises(ValueError, match=r"axes that \(4,\) experts divide, got \(6,\)"):
    partition(jnp.ones(6), experts=(4,))
  with pytest.raises(ValueError, match=r"axes that \(0,\) experts divide, got \(6,\)"):
    partition(jnp.ones(6), experts=(0,))
  with pytest.raises(ValueError, match="unknown gradient 'unrolled'; known: exact, paper"):
    solve(jnp.ones((6, 2)), jnp.ones(6), gradient="unrolled")


SIZES = {"M": 4, "N": 2, "E": 4, "P": 1, "Q": 3}


def _solve(basis, target, mask):
  options = {"ridge": 0.3, "max_iterations": 8, "tolerance": 0.0}
  return hard_constraint(lambda u, y: u - y, basis, jnp.zeros(2), target, mask=mask, **options)


KERNELS = [
  Kernel(
    _solve,
    {"basis": "MN", "target": "M", "mask": "M"},
    covers={"basis": ""},  # the values at all points
    zero_masked=False,
    public=hard_constraint,
    sizes=SIZES,
  ),
  Kernel(partition, {"x": "MQ"}, {"experts": (2,)}, mask=None, sizes=SIZES),
  Kernel(unpartition, {"pieces": "EPQ"}, {"experts": (2, 2)}, mask=None, sizes=SIZES),
]
