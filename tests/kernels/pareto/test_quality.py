from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from rl_jax.kernels.pareto import quality
from tests.kernels.kernel import Kernel, compiled

RNG = np.random.default_rng(0)


def union(points, reference):
  """Volume of a union of boxes, by inclusion and exclusion."""
  corners = [np.maximum(p - reference, 0) for p in points]
  subsets = (c for n in range(1, len(corners) + 1) for c in itertools.combinations(corners, n))
  return sum((-1) ** (len(subset) + 1) * np.prod(np.min(subset, axis=0)) for subset in subsets)


@pytest.mark.parametrize("objectives", [1, 3, 4])
def test_volume_against_inclusion_and_exclusion(objectives):
  points, reference = RNG.normal(size=(5, objectives)).astype(np.float32), np.full(objectives, -0.5, np.float32)
  mask = np.array([1, 1, 0, 1, 1])
  volume = compiled(quality.hypervolume)(points, mask, reference)
  np.testing.assert_allclose(volume, union(points[[0, 1, 3, 4]], reference), rtol=1e-5)
  order = RNG.permutation(5)
  again = compiled(quality.hypervolume)(points[order][:, ::-1], mask[order], reference)
  np.testing.assert_allclose(again, volume, rtol=1e-5)


def test_dominated_members_add_nothing_and_a_volume_scales_with_each_objective():
  points = np.array([[1, 3], [2, 2], [1, 1]], np.float32)
  volume = lambda points: compiled(quality.hypervolume)(points, np.ones(3), np.zeros(2, np.float32))
  assert volume(points) == volume(points[[0, 1, 0]]) == 5
  assert volume(points * np.array([2, 3], np.float32)) == 30


def test_the_grid_has_all_compositions():
  for dimension, parts in ((1, 3), (3, 10), (4, 2)):
    grid = np.asarray(quality.simplex_grid(dimension, parts))
    assert grid.shape == (math.comb(parts + dimension - 1, dimension - 1), dimension)
    np.testing.assert_allclose(grid.sum(axis=1), 1, rtol=1e-6)
    assert len(np.unique(grid, axis=0)) == len(grid) and (grid >= 0).all()
  with pytest.raises(ValueError, match="parts of at least 1, got 2 and 0"):
    quality.simplex_grid(2, 0)


def test_a_preference_is_served_by_the_first_of_the_best():
  points, preferences = np.array([[9.0, 9.0], [1.0, 3.0], [3.0, 1.0]]), np.array([[1.0, 0.0], [0.5, 0.5]])
  assigned = compiled(quality.assign_policies)(points, np.array([0, 1, 1]), preferences)
  assert assigned.indices.tolist() == [2, 1] and assigned.utilities.tolist() == [3, 2]


def test_the_front_serves_as_well_as_all_and_nothing_serves_nobody():
  points, grid = np.array([[1.0, 3.0], [3.0, 1.0], [1.0, 1.0]]), quality.simplex_grid(2, 4)
  utility = lambda *mask: compiled(quality.expected_utility)(points, np.array(mask), grid)
  assert utility(1, 1, 1).sum == utility(1, 1, 0).sum > utility(1, 0, 0).sum
  assert utility(0, 0, 0).weight == 0


def test_sparsity_against_a_loop():
  points = RNG.normal(size=(6, 3)).astype(np.float32)
  sparsity, there = compiled(quality.sparsity), np.arange(6) != 2
  found = sparsity(np.where(there[:, None], points, np.nan).astype(np.float32), there)
  kept = np.delete(points, 2, axis=0).astype(np.float64)
  expected = sum((b - a) ** 2 for column in kept.T for a, b in itertools.pairwise(sorted(column))) / 4
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  assert sparsity(points, ~there) == sparsity(points, np.zeros(6, bool)) == 0


def _utility_of_grid(points):
  return (points @ quality.simplex_grid(points.shape[1], 2).T).max(axis=0)


ARCHIVE = {"points": "PK", "mask": "P"}
PREFERENCES = {**ARCHIVE, "preferences": "WK"}
SIZES = {"P": 5, "W": 2}

KERNELS = [
  Kernel(quality.hypervolume, {**ARCHIVE, "reference": "K"}, sizes=SIZES),
  Kernel(quality.assign_policies, PREFERENCES, sizes=SIZES),
  Kernel(quality.expected_utility, PREFERENCES, sizes=SIZES),
  Kernel(quality.sparsity, ARCHIVE, sizes=SIZES),
  Kernel(_utility_of_grid, {"points": "PK"}, mask=None, sizes=SIZES, public=quality.simplex_grid),
]
