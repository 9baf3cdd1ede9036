from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels import reductions
from rl_jax.kernels.reductions import (
  AGGREGATIONS,
  Mean,
  aggregate,
  densify,
  group_deviations,
  group_std,
  masked_mean,
  whiten,
)
from tests.kernels.kernel import Kernel
from tests.kernels.numerics import finite_difference

LOSSES = jnp.array([[1.0, 3.0, jnp.nan], [6.0, jnp.nan, jnp.nan], [jnp.nan, jnp.inf, 0.0]])
WEIGHTS = jnp.array([[1.0, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
ROWS = jnp.ones(3, bool)


@pytest.mark.parametrize(
  "mode, options, expected",
  [
    ("token_mean", {}, 8.5 / 2.5),
    ("sequence_mean_token_mean", {}, (2.5 / 1.5 + 6) / 2),
    ("sequence_mean_token_sum", {}, 8.5 / 2),
    ("sequence_mean_token_sum", {"rows": ROWS}, 8.5 / 3),
    ("sequence_mean_constant", {"constant": 3}, 8.5 / 6),
    ("sequence_mean_constant", {"constant": 3, "rows": ROWS}, 8.5 / 9),
    ("constant", {"constant": 3}, 8.5 / 3),
  ],
)
def test_aggregations_by_hand(mode, options, expected):
  np.testing.assert_allclose(aggregate(LOSSES, WEIGHTS, mode=mode, **options).value, expected, rtol=1e-6)


def test_constant_adds_over_micro_batches_as_documented():
  losses, weights = jnp.ones((4, 3)), jnp.ones((4, 3))
  whole = aggregate(losses, weights, mode="constant", constant=6.0)
  halves = [aggregate(losses[i : i + 2], weights[i : i + 2], mode="constant", constant=6.0 / 2) for i in (0, 2)]
  assert jax.tree.map(jnp.add, *halves) == whole


def test_weight_does_not_depend_on_losses():
  for mode in AGGREGATIONS:
    constant = 3.0 if mode.endswith("constant") else None
    first, second = (aggregate(x, WEIGHTS, mode=mode, constant=constant) for x in (LOSSES, 5 * LOSSES))
    assert first.weight == second.weight


def test_aggregate_gradient():
  weights, losses = np.array([[1.0, 0.5], [1.0, 0.0]]), np.array([[0.3, -2.0], [1.5, 9.0]])

  def reference(x):
    return sum(sum(w * v for w, v in zip(ws, vs, strict=True)) / sum(ws) for ws, vs in zip(weights, x, strict=True)) / 2

  gradient = jax.grad(lambda x: aggregate(x, jnp.array(weights), mode="sequence_mean_token_mean").value)
  np.testing.assert_allclose(gradient(jnp.array(losses)), finite_difference(reference, losses), atol=1e-6)


def test_a_mean_without_weight_is_zero_with_a_zero_gradient():
  value, gradient = jax.value_and_grad(lambda x: masked_mean(x, jnp.zeros(2)).value)(jnp.array([jnp.nan, 1.0]))
  assert value == 0 and not gradient.any()
  np.testing.assert_array_equal(Mean(jnp.ones(2), jnp.array([0.0, 2.0])).value, [0.0, 0.5])


def test_ids_far_outside_the_batch():
  np.testing.assert_array_equal(densify(jnp.array([2**31 - 1, -(2**31), 7, 7])), [2, 0, 1, 1])


@pytest.mark.parametrize("size", [2, 3, 7, 63])
def test_a_constant_group_has_no_rounding_residue(size):
  x, ids, mask = jnp.full(size, 0.1), jnp.zeros(size, jnp.int32), jnp.ones(size, bool)
  assert not group_deviations(x, ids, mask).any()
  assert not group_std(x, ids, mask).any()
  assert not whiten(x, mask).any()


def test_whitening_as_in_appo_has_a_least_deviation():
  x, mask = jnp.array([[1.0, 2.0, jnp.nan], [4.0, 3.0, 3.0]]), jnp.array([[1, 1, 0], [1, 1, 1]])
  values = np.array([1.0, 2, 4, 3, 3])
  np.testing.assert_allclose(whiten(x, mask, form="appo")[mask != 0], (values - 2.6) / values.std(ddof=1), rtol=1e-5)
  np.testing.assert_allclose(whiten(1e-5 * x, mask, form="appo")[0, 0], -1.6e-2, rtol=1e-4)


def test_statistics_match_numpy():
  rng = np.random.default_rng(0)
  x, ids, mask = rng.normal(size=12), np.arange(12) % 3, rng.random(12) < 0.8
  for ddof in (0, 1):
    expected = [np.std(x[(ids == i) & mask], ddof=ddof) for i in ids]
    np.testing.assert_allclose(group_std(jnp.array(x), jnp.array(ids), jnp.array(mask), ddof=ddof), expected, rtol=1e-5)


def test_wrong_calls_say_what_to_do():
  with pytest.raises(ValueError, match="unknown mode 'mean'; known: token_mean, "):
    aggregate(LOSSES, WEIGHTS, mode="mean")
  with pytest.raises(ValueError, match="needs constant"):
    aggregate(LOSSES, WEIGHTS, mode="constant")
  with pytest.raises(ValueError, match=r"losses \(3, 3\), weights \(3,\)"):
    aggregate(LOSSES, WEIGHTS[:, 0], mode="token_mean")


GROUPED = {"x": "B", "group_ids": "B", "mask": "B"}
WEIGHTED = {"x": "B", "group_ids": "B", "weights": "B"}
POOLED = {"x": "BS", "group_ids": "B", "weights": "BS"}
STEPS = {"x": "BS", "group_ids": "B", "mask": "BS"}


def _aggregate(mode, **options):
  return Kernel(
    reductions.aggregate,
    {"losses": "BT", "weights": "BT"},
    {"mode": mode, **options},
    mask="weights",
    scope="batch" if mode == "constant" else "row",
    gradients=("losses",),
  )


def _densify(lengths, tokens):
  return reductions.densify(lengths, tokens)


KERNELS = [
  Kernel(reductions.widen, {"x": "BT"}, mask=None, gradients=("x",)),
  Kernel(reductions.zero_masked, {"x": "BT", "mask": "BT"}, gradients=("x",)),
  Kernel(reductions.masked_mean, {"x": "BT", "weights": "BT"}, mask="weights", gradients=("x",)),
  Kernel(reductions.masked_mean, {"x": "BT", "weights": "BT"}, {"axis": 1}, mask="weights", gradients=("x",)),
  Kernel(reductions.per_token, {"x": "B", "mask": "BT"}, gradients=("x",)),
  Kernel(_densify, {"lengths": "B", "tokens": "B"}, mask=None, scope="batch", public=reductions.densify),
  Kernel(reductions.group_sum, WEIGHTED, mask="weights", scope="group", gradients=("x",), zero_masked=False),
  Kernel(reductions.group_mean, WEIGHTED, mask="weights", scope="group", gradients=("x",), zero_masked=False),
  Kernel(reductions.group_is_constant, GROUPED, scope="group", zero_masked=False),
  Kernel(reductions.group_deviations, GROUPED, scope="group", gradients=("x",)),
  Kernel(reductions.group_std, GROUPED, scope="group", gradients=("x",), zero_masked=False),
  Kernel(reductions.group_mean, POOLED, mask="weights", scope="group", gradients=("x",), zero_masked=False),
  Kernel(reductions.group_size, {"group_ids": "B", "mask": "B"}, scope="group", zero_masked=False),
  Kernel(reductions.group_std, STEPS, scope="group", gradients=("x",), zero_masked=False),
  Kernel(reductions.standardize, GROUPED, scope="group", gradients=("x",)),
  Kernel(reductions.standardize, STEPS, scope="group", gradients=("x",)),
  Kernel(reductions.whiten, {"x": "BT", "mask": "BT"}, scope="batch", gradients=("x",)),
  Kernel(reductions.whiten, {"x": "BT", "mask": "BT"}, {"form": "openrlhf"}, scope="batch", gradients=("x",)),
  _aggregate("token_mean"),
  _aggregate("sequence_mean_token_mean"),
  _aggregate("sequence_mean_token_sum"),
  _aggregate("sequence_mean_constant", constant=4.0),
  _aggregate("constant", constant=4.0),
]
