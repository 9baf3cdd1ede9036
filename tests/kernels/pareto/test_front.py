from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.pareto import front
from tests.kernels.kernel import Kernel

RNG = np.random.default_rng(0)
POINTS = RNG.integers(0, 4, (7, 2)).astype(np.float32)  # with duplicates and equal coordinates
MASK = np.arange(7) != 3
SPOILED = jnp.array(np.where(MASK[:, None], POINTS, np.nan))


def dominated(points, i):
  return any((q >= points[i]).all() and (q > points[i]).any() for q in points)


def test_the_front_against_loops_and_under_maps_that_keep_the_order():
  kept = np.asarray(front.pareto_front(SPOILED, jnp.array(MASK)))
  assert kept[MASK].tolist() == [not dominated(POINTS[MASK], i) for i in range(6)] and not kept[3]
  # Scales and shifts of an objective, and the order of members and objectives, change nothing.
  order = RNG.permutation(7)
  moved = SPOILED[order][:, ::-1] * jnp.array([3.0, 0.5]) - 7
  np.testing.assert_array_equal(front.pareto_front(moved, jnp.array(MASK[order])), kept[order])


def test_duplicates_stay_and_a_member_below_the_reference_goes_but_still_dominates():
  points = jnp.array([[1.0, 3.0], [1.0, 3.0], [1.0, 2.0], [3.0, -1.0], [2.5, -2.0]])
  kept = front.pareto_front(points, jnp.ones(5), reference=jnp.zeros(2))
  assert kept.tolist() == [True, True, False, False, False]
  assert not front.pareto_front(points, jnp.zeros(5)).any()


def test_crowding_distances_do_not_change_with_scale_and_masked_members():
  points = jnp.array([[1.0, 5.0], [2.0, 4.0], [4.0, 2.5], [5.0, 1.0], [jnp.nan, jnp.nan]])
  mask, expected = jnp.array([1, 1, 1, 1, 0]), [np.inf, 3 / 4 + 2.5 / 4, 3 / 4 + 3 / 4, np.inf, 0]
  np.testing.assert_allclose(front.crowding_distances(points, mask), expected)
  np.testing.assert_allclose(front.crowding_distances(points * jnp.array([2.0, 9.0]) + 5, mask), expected, rtol=1e-6)
  order = jnp.array([4, 2, 0, 3, 1])
  np.testing.assert_allclose(front.crowding_distances(points[order], mask[order]), np.array(expected)[order])


def test_constant_objectives_and_few_members():
  constant = jnp.array([[1.0, 7.0], [2.0, 7.0], [3.0, 7.0], [4.0, 7.0], [5.0, 7.0]])
  distances = lambda *mask: front.crowding_distances(constant, jnp.array(mask)).tolist()
  np.testing.assert_allclose(distances(1, 1, 1, 1, 0), [np.inf, 2 / 3, 2 / 3, np.inf, 0])
  assert distances(1, 0, 0, 1, 0) == [np.inf, 0, 0, np.inf, 0]
  assert distances(0, 0, 1, 0, 0) == [0, 0, np.inf, 0, 0]
  assert distances(0, 0, 0, 0, 0) == [0] * 5


def test_selection_passes_over_the_history_and_takes_what_there_is():
  points, history = jnp.array([[1.0, 5.0], [2.0, 4.0], [4.0, 2.0], [5.0, 1.0]]), jnp.array([[5.0, 1.0], [1.0, 5.0]])
  select = lambda history_mask, count: front.select_isolated(points, jnp.ones(4), history, history_mask, count=count)
  assert select(jnp.array([1, 0]), 2).indices.tolist() == [0, 1]
  chosen = select(jnp.ones(2), 3)
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
