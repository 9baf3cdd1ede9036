from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.search.refinement import join_drafts, refinement_calls, token_budget, top_drafts
from tests.kernels.kernel import Kernel

LENGTHS = jnp.array([10]), jnp.array([100]), jnp.array([20])


def budget(**options):
  calls = refinement_calls(*LENGTHS, **options)
  return [int(x[0]) for x in token_budget(*calls, jnp.ones_like(calls.inputs))]


def test_worked_examples():
  assert budget(widths=(8, 4)) == [410, 1630]
  # Drafts, the summary of each round, the answer: of the first round 110, 10 + 800 + 20; then 130 each.
  assert budget(widths=(8, 4), distillation="summary") == [
    110 + 830 + 130 + 430 + 130,
    8 * 110 + 830 + 4 * 130 + 430 + 130,
  ]


def test_sequential_refinement_is_one_path():
  assert budget(widths=(1,) * 5, k=1) == [110 + 5 * 130] * 2


def test_a_workspace_holds_no_more_drafts_than_there_are_and_no_more_than_the_cap():
  assert budget(widths=(1,), k=4) == budget(widths=(1,), k=1)
  assert budget(widths=(8,), k=4, cap=50) == [110 + 160, 8 * 110 + 160]


def test_best_drafts():
  scores = jnp.array([[0.2, 0.9, 0.9, 0.1], [jnp.nan, -jnp.inf, jnp.nan, 3.0], [1.0, 2.0, 3.0, 4.0]])
  mask = jnp.array([[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0]])
  chosen = top_drafts(scores, mask, k=3)
  np.testing.assert_array_equal(chosen.slots, [[1, 2, 0], [3, 1, 0], [0, 0, 0]])
  np.testing.assert_array_equal(chosen.mask, [[1, 1, 1], [1, 1, 0], [0, 0, 0]])
  assert top_drafts(scores, mask, k=9).slots.shape == (3, 4)


def joined(drafts, chosen, cap, room):
  """The rule as a loop over lists."""
  pieces = [drafts[i] for i in chosen if drafts[i]]
  share = (cap - (len(pieces) - 1)) // len(pieces) if pieces else 0
  out = []
  for piece in pieces:
    left = share if room == "equal" else cap - len(out) - bool(out)
    if left > 0:
      out += ([-1] if out else []) + piece[-left:]
  return out


@pytest.mark.parametrize("room", ["in_order", "equal"])
def test_workspaces_are_those_of_a_loop(room):
  rng = np.random.default_rng(0)
  tokens, mask = rng.integers(1, 99, (20, 4, 5)), rng.random((20, 4, 5)) < 0.6
  slots = np.array([rng.permutation(4)[:3] for _ in range(20)])
  slot_mask = np.arange(3) < rng.integers(0, 4, (20, 1))
  drafts = [[row[m].tolist() for row, m in zip(*both, strict=True)] for both in zip(tokens, mask, strict=True)]
  for cap in (0, 1, 2, 5, 8, 30):
    arrays = map(jnp.asarray, (tokens, mask, slots, slot_mask))
    workspace = join_drafts(*arrays, cap=cap, room=room)
    for i in range(20):
      expected = joined(drafts[i], slots[i][slot_mask[i]], cap, room)
      assert workspace.tokens[i][workspace.mask[i]].tolist() == expected
      assert not workspace.tokens[i][~workspace.mask[i]].any()


def test_errors():
  with pytest.raises(ValueError, match="unknown room 'first'; known: in_order, equal"):
    join_drafts(
      jnp.ones((1, 1, 1), int), jnp.ones((1, 1, 1)), jnp.zeros((1, 1), int), jnp.ones((1, 1)), cap=1, room="first"
    )
  with pytest.raises(ValueError, match="widths and k of at least 1"):
    budget(widths=(4, 0))


COUNTS = lambda rng, shape: rng.integers(1, 50, shape).astype("int32")
FLAGS = lambda rng, shape: rng.random(shape) < 0.5
DRAWS = {
  "inputs": COUNTS,
  "outputs": COUNTS,
  "prompt_lengths": COUNTS,
  "draft_lengths": COUNTS,
  "artefact_lengths": COUNTS,
  "accepted": FLAGS,
  "slots": lambda rng, shape: rng.integers(0, 4, shape).astype("int32"),
}
CALLS = {"inputs": "BS", "outputs": "BS", "accepted": "BS", "mask": "BS"}
LENGTH_AXES = {"prompt_lengths": "B", "draft_lengths": "B", "artefact_lengths": "B"}
DRAFTS = {"tokens": "BST", "mask": "BST", "slots": "BK", "slot_mask": "BK"}

KERNELS = [
  Kernel(token_budget, CALLS, draws=DRAWS),
  Kernel(refinement_calls, LENGTH_AXES, {"widths": (3, 2), "cap": 60}, mask=None, draws=DRAWS),
  Kernel(top_drafts, {"scores": "BS", "mask": "BS"}),
  Kernel(join_drafts, DRAFTS, {"cap": 7}, draws=DRAWS),
  Kernel(join_drafts, DRAFTS, {"cap": 7, "room": "equal"}, draws=DRAWS),
]
