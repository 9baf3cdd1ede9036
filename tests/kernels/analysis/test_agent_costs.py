from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.analysis import agent_costs
from tests.kernels.kernel import Kernel, compiled, quick_jit

RNG = np.random.default_rng(0)


def test_uses_are_charged_once_or_each_time():
  args = (
    jnp.array([10.0, 20.0, np.nan]),
    jnp.array([[3, 0], [1, 2], [9, 9]]),
    jnp.array([0.5, 2.0]),
    jnp.array([1, 1, 0]),
  )
  once, each = (compiled(agent_costs.agent_cost, token_price=0.1, charge=c)(*args) for c in ("once", "per_use"))
  np.testing.assert_allclose(once.language_model, [1, 2, 0])
  np.testing.assert_allclose(once.total, [1.5, 4.5, 0])
  np.testing.assert_allclose(each.total, [2.5, 6.5, 0])


def test_a_larger_budget_buys_no_less_and_both_questions_agree():
  costs, scores = RNG.random((2, 8)).astype(np.float32)
  mask = np.arange(8) < 7
  scored = quick_jit(lambda budget: agent_costs.score_at_budget(*map(jnp.array, (costs, scores, mask)), budget=budget))
  paid = quick_jit(lambda score: agent_costs.cost_at_score(*map(jnp.array, (costs, scores, mask)), score=score))
  best = [scored(budget) for budget in (0.0, 0.4, 0.7, 1.0)]
  assert not best[0].exists and best[0].value == 0
  assert best[1].value <= best[2].value <= best[3].value == scores[:7].max()
  back = paid(float(best[2].value))
  assert back.exists and back.value <= 0.7
  assert not paid(2.0).exists


def test_costs_of_answers_without_answers_and_without_calls():
  costs, mask = np.array([1.0, 2.0, np.nan]), np.array([1, 1, 0])
  assert compiled(agent_costs.cost_of_pass)(costs, np.array([1, 0, 1]), mask) == 3
  assert np.isinf(compiled(agent_costs.cost_of_pass)(costs, np.array([0, 0, 1]), mask))
  productivity = lambda *counts: compiled(agent_costs.tool_productivity)(*map(np.array, counts), mask)
  assert productivity([1, 1, 0], [3, 1, 9]) == 0.5
  assert np.isinf(productivity([1, 0, 0], [0, 0, 9])) and productivity([0, 0, 1], [0, 0, 9]) == 0


def levenshtein(a, b):
  if not a or not b:
    return len(a) + len(b)
  return min(levenshtein(a[1:], b) + 1, levenshtein(a, b[1:]) + 1, levenshtein(a[1:], b[1:]) + (a[0] != b[0]))


def test_edit_distance_against_its_definition_and_as_a_distance():
  """0 only for equal sequences, symmetric, at least the difference and at most the larger of the lengths."""
  paths, masks = RNG.integers(0, 3, (2, 20, 5)), RNG.random((2, 20, 5)) < 0.7
  edit_distance = compiled(agent_costs.edit_distance)
  found = edit_distance(*paths, *masks)
  assert found.tolist() == edit_distance(*paths[::-1], *masks[::-1]).tolist()
  for distance, a, b, mask_a, mask_b in zip(found.tolist(), *paths, *masks, strict=True):
    a, b = a[mask_a].tolist(), b[mask_b].tolist()
    assert distance == levenshtein(a, b)
    assert abs(len(a) - len(b)) <= distance <= max(len(a), len(b)) and (distance == 0) == (a == b)


FLAGS = lambda rng, shape: rng.random(shape) < 0.6


def _counts(rng, shape):
  return rng.integers(0, 3, shape).astype(np.int32)


DRAWS = {"correct": FLAGS, "calls": _counts, "uses": _counts, "path": _counts, "reference": _counts}
SYSTEMS = {"costs": "N", "scores": "N", "mask": "N"}
SIZES = {"N": 5, "R": 4}

KERNELS = [
  Kernel(
    agent_costs.agent_cost,
    {"tokens": "B", "uses": "BK", "prices": "K", "mask": "B"},
    {"token_price": 0.5},
    draws=DRAWS,
  ),
  Kernel(agent_costs.score_at_budget, SYSTEMS, {"budget": 0.5}, sizes=SIZES),
  Kernel(agent_costs.cost_at_score, SYSTEMS, {"score": 0.5}, sizes=SIZES),
  Kernel(
    agent_costs.cost_of_pass,
    {"costs": "N", "correct": "N", "mask": "N"},
    mask=None,  # infinite without a correct run; tested above
    draws={"correct": lambda rng, shape: np.ones(shape, bool)},
    sizes=SIZES,
  ),
  Kernel(agent_costs.tool_productivity, {"correct": "N", "calls": "N", "mask": "N"}, draws=DRAWS, sizes=SIZES),
  Kernel(
    agent_costs.edit_distance,
    {"path": "BT", "reference": "BR", "mask": "BT", "reference_mask": "BR"},
    draws=DRAWS,
    zero_masked=False,
    sizes=SIZES,
  ),
]
