from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.pareto import front
from tests.kernels.kernel import Kernel, compiled, quick_jit

RNG = np.random.default_rng(0)
POINTS = RNG.integers(0, 4, (7, 2)).astype(np.float32)  # with duplicates and equal coordinates
MASK = np.arange(7) != 3
SPOILED = np.where(MASK[:, None], POINTS, np.nan)


def dominated(points, i):
  return any((q >= points[i]).all() and (q > points[i]).any() for q in points)


def test_the_front_against_loops_and_under_maps_that_keep_the_order():
  kept = np.asarray(compiled(front.pareto_front)(SPOILED, MASK))
  assert kept[MASK].tolist() == [not dominated(POINTS[MASK], i) for i in range(6)] and not kept[3]
  # Scales and shifts of an objective, and the order of members and objectives, change nothing.
  order = RNG.permutation(7)
  moved = SPOILED[order][:, ::-1] * np.array([3, 0.5], np.float32) - 7
  np.testing.assert_array_equal(compiled(front.pareto_front)(moved, MASK[order]), kept[order])


def test_duplicates_stay_and_a_member_below_the_reference_goes_but_still_dominates():
  points = np.array([[1, 3], [1, 3], [1, 2], [3, -1], [2.5, -2], [0, 0], [0, 0]], np.float32)
  front_of = quick_jit(lambda mask: front.pareto_front(points, mask, reference=jnp.zeros(2)))
  assert front_of(np.arange(7) < 5).tolist() == [True, True, False, False, False, False, False]
  assert not front_of(np.zeros(7, bool)).any()


def test_crowding_distances_do_not_change_with_scale_and_masked_members():
  points = np.array([[1, 5], [2, 4], [4, 2.5], [5, 1], [np.nan, np.nan]], np.float32)
  mask, expected = np.arange(5) < 4, np.array([np.inf, 3 / 4 + 2.5 / 4, 3 / 4 + 3 / 4, np.inf, 0])
  distances = compiled(front.crowding_distances)
  np.testing.assert_allclose(distances(points, mask), expected)
  np.testing.assert_allclose(distances(points * np.array([2, 9], np.float32) + 5, mask), expected, rtol=1e-6)
  order = np.array([4, 2, 0, 3, 1])
  np.testing.assert_allclose(distances(points[order], mask[order]), expected[order])


def test_constant_objectives_and_few_members():
  constant = np.array([[1, 7], [2, 7], [3, 7], [4, 7], [5, 7]], np.float32)
  distances = lambda *mask: compiled(front.crowding_distances)(constant, np.array(mask) == 1).tolist()
  np.testing.assert_allclose(distances(1, 1, 1, 1, 0), [np.inf, 2 / 3, 2 / 3, np.inf, 0])
  assert distances(1, 0, 0, 1, 0) == [np.inf, 0, 0, np.inf, 0]
  assert distances(0, 0, 1, 0, 0) == [0, 0, np.inf, 0, 0]
  assert distances(0, 0, 0, 0, 0) == [0] * 5


def test_selection_passes_over_the_history_and_takes_what_there_is():
  points = np.array([[1, 5], [2, 4], [4, 2], [5, 1]], np.float32)
  select = lambda *seen: compiled(front.select_isolated, count=3)(points, np.ones(4), points[[3, 0]], np.array(seen))
  assert select(1, 0).indices.tolist() == [0, 1, 2]
  chosen = select(1, 1)
  assert chosen.indices.tolist() == [1, 2, 0] and chosen.mask.tolist() == [True, True, False]


ARCHIVE = {"points": "PK", "mask": "P"}
SIZES = {"P": 5, "H": 2}

KERNELS = [
  Kernel(front.pareto_front, {**ARCHIVE, "reference": "K"}, sizes=SIZES),
  Kernel(front.crowding_distances, ARCHIVE, mask=None, sizes=SIZES),  # infinite at the ends; tested above
  Kernel(
    front.select_isolated,
    {**ARCHIVE, "history": "HK", "history_mask": "H"},
    {"count": 3},
    covers={"history": "history_mask"},
    zero_masked=False,
    sizes=SIZES,
  ),
]
