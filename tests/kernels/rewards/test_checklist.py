from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.rewards import checklist
from tests.kernels.kernel import Kernel
from tests.kernels.papers.as_released import checklist_progress_in_order

# One turn, item 1 depends on item 0. Steps that were not taken hold a 1.
JUDGE = jnp.array(
  [[[1, 0], [1, 0], [1, 1]], [[0, 0], [1, 0], [1, 1]], [[0, 1], [1, 0], [1, 1]], [[0, 0], [1, 1], [1, 1]]]
)
TAKEN = jnp.array([[1, 1, 1], [1, 1, 0], [1, 1, 0], [1, 0, 0]])
NEEDS = jnp.array([[[0, 0], [1, 0]]] * 4)
ITEMS, STEPS = jnp.zeros((4, 2), jnp.int32), jnp.zeros((4, 3), jnp.int32)
WEIGHTS = jnp.array([[0.4, 0.6]] * 4)


def progress(judge=JUDGE, needs=NEEDS, items=ITEMS, steps=STEPS, taken=TAKEN, **options):
  return checklist.checklist_progress(judge, needs, items, steps, taken, **options)


def test_a_dependency_counts_from_the_next_step():
  items = progress()
  assert items.satisfied.tolist() == [[True, True], [True, False], [True, False], [False, False]]
  assert items.eligible[0].tolist() == [[True, False], [False, True], [False, True]]
  assert items.completed[0].tolist() == [[True, False], [False, False], [False, True]]
  assert items.attempted[:, 1].tolist() == [True, False, False, False]
  turns = checklist.checklist_turn_rewards(items.satisfied, WEIGHTS, ITEMS, jnp.ones((4, 1)))
  np.testing.assert_allclose(turns[:, 0], [1.0, 0.4, 0.4, 0.0], rtol=1e-6)


def test_the_code_ignores_dependencies_and_order_in_its_rewards():
  items = progress(needs=jnp.zeros_like(NEEDS))
  turns = checklist.checklist_turn_rewards(items.satisfied, WEIGHTS, ITEMS, jnp.ones((4, 1)))
  np.testing.assert_allclose(turns[:, 0], [1.0, 0.4, 1.0, 0.0], rtol=1e-6)


def test_the_code_lets_an_earlier_item_of_the_same_step_satisfy_a_dependency():
  both = jnp.array([[[1, 1]]])
  one = lambda needs, of=checklist_progress_in_order: of(
    both, jnp.array([needs]), ITEMS[:1], STEPS[:1, :1], TAKEN[:1, :1]
  )
  forward, backward = [[0, 0], [1, 0]], [[0, 1], [0, 0]]
  assert one(forward, checklist.checklist_progress).satisfied.tolist() == [[True, False]]
  assert one(forward).satisfied.tolist() == [[True, True]]
  assert one(forward).attempted.tolist() == [[True, True]]
  assert one(forward).eligible.tolist() == [[[True, False]]]
  assert one(backward).satisfied.tolist() == [[False, True]]  # item 0 came before item 1


def test_items_belong_to_one_turn():
  judge, items, steps = jnp.ones((1, 2, 3)), jnp.array([[0, 1, -1]]), jnp.array([[0, 1]])
  found = progress(judge, jnp.zeros((1, 3, 3)), items, steps, jnp.ones((1, 2)))
  assert found.completed.tolist() == [[[True, False, False], [False, True, False]]]


def test_turns_not_reached_keep_zero_and_count():
  satisfied, turns = jnp.array([[True, True, False], [True, True, False]]), jnp.array([[0, 0, 1]] * 2)
  weights, reference = jnp.array([[0.25, 0.75, 1.0]] * 2), jnp.array([[1, 1, 1, 0]] * 2)
  rewards = checklist.checklist_turn_rewards(satisfied, weights, turns, reference)
  assert rewards.tolist() == [[1, 0, 0, 0]] * 2
  valid = jnp.array([True, False])
  np.testing.assert_allclose(checklist.checklist_trajectory_reward(rewards, reference, valid), [1 / 3, 0], rtol=1e-6)
  assert not checklist.checklist_trajectory_reward(rewards, jnp.zeros_like(reference), valid).any()


def test_a_required_item_stops_the_dialogue():
  satisfied, turns = jnp.array([[True, False, False, True]]), jnp.array([[0, 0, 1, -1]])
  passed = lambda required: checklist.turns_passed(satisfied, jnp.array([required]), turns, jnp.array([[1, 1, 0]]))
  assert passed([1, 0, 0, 1]).tolist() == [[True, True, False]]
  assert passed([1, 1, 0, 0]).tolist() == [[False, True, False]]
  assert passed([0, 0, 1, 0]).tolist() == [[True, False, False]]


def test_steps_are_the_runs_of_the_response_mask():
  mask = jnp.array([[1, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0]])
  assert checklist.response_steps(mask).tolist() == [[0, 0, -1, -1, 1, -1], [-1] * 6]


SIZES = {"L": 2, "C": 3}


def _binary(share):
  return lambda rng, shape: rng.random(shape) < share


DRAWS = {
  "judge": lambda rng, shape: (rng.random(shape) < 0.6).astype(np.float32),
  "dependencies": lambda rng, shape: np.tril(rng.random(shape) < 0.5, -1).astype(np.float32),
  "item_turns": lambda rng, shape: rng.integers(-1, SIZES["L"], shape).astype(np.int32),
  "step_turns": lambda rng, shape: np.sort(rng.integers(0, SIZES["L"], shape), axis=-1).astype(np.int32),
  "satisfied": _binary(0.5),
  "required": _binary(0.5),
  "valid": _binary(0.7),
}
JUDGED = {"judge": "BSC", "dependencies": "BCC", "item_turns": "BC", "step_turns": "BS", "step_mask": "BS"}
_kernel = partial(Kernel, draws=DRAWS, sizes=SIZES)

KERNELS = [
  _kernel(checklist.checklist_progress, JUDGED, mask="step_mask"),
  _kernel(
    checklist.checklist_turn_rewards,
    {"satisfied": "BC", "weights": "BC", "item_turns": "BC", "turn_mask": "BL"},
    mask="turn_mask",
  ),
  _kernel(
    checklist.checklist_trajectory_reward,
    {"turn_rewards": "BL", "turn_mask": "BL", "valid": "B"},
    mask="turn_mask",
  ),
  _kernel(
    checklist.turns_passed,
    {"satisfied": "BC", "required": "BC", "item_turns": "BC", "turn_mask": "BL"},
    mask="turn_mask",
  ),
  _kernel(checklist.response_steps, {"mask": "BT"}, zero_masked=False),
]
