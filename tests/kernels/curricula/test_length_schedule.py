from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.curricula.length_schedule import efficiency, length_limit, truncate
from tests.kernels.kernel import Kernel


def test_the_papers_schedules():
  steps = jnp.array([0, 40, 79, 160, 239, 320, 400, 480, 559, 640])
  cosine = [16384, 16072.2106, 15212.6038, 12288, 9420.2642, 8192, 9391.6906, 12288, 15155.7358, 16384]
  stair_cosine = [16384, 16384, 16384, 12288, 8192.7895, 8192, 8192, 12288, 16383.2105, 16384]
  np.testing.assert_allclose(length_limit(steps).value, cosine, atol=0.01)
  np.testing.assert_allclose(length_limit(steps, kind="stair_cosine").value, stair_cosine, atol=0.01)
  stair = length_limit(steps, kind="stair").tokens
  np.testing.assert_array_equal(stair, [8192] * 5 + [16384] * 4 + [8192])


@pytest.mark.parametrize("kind", ["cosine", "stair", "stair_cosine"])
def test_cycles_repeat_exactly_however_late(kind):
  steps = jnp.arange(640)
  late = steps + 640 * 10**6
  np.testing.assert_array_equal(length_limit(late, kind=kind).value, length_limit(steps, kind=kind).value)


def test_tokens_are_rounded_not_floored():
  # float32 is just below 12288 at a quarter of the cycle for some lengths of the cycle.
  for cycle in (4, 20, 100, 640, 3200):
    assert length_limit(cycle // 4, cycle=cycle).tokens == 12288
  assert length_limit(79).tokens == 15213


def test_an_odd_cycle_and_equal_limits():
  np.testing.assert_array_equal(
    length_limit(jnp.arange(5), kind="stair", cycle=5, longest=9, shortest=2).tokens, [2, 2, 2, 9, 9]
  )
  np.testing.assert_array_equal(length_limit(jnp.arange(5), longest=8, shortest=8).tokens, 8)


def test_truncation_counts_tokens_not_slots():
  mask = jnp.array([[0, 1, 1, 0, 1, 1], [0, 0, 0, 0, 0, 0]])
  np.testing.assert_array_equal(truncate(mask, limits=3), [[0, 1, 1, 0, 1, 0], [0] * 6])
  np.testing.assert_array_equal(truncate(mask, limits=jnp.array([1, 5])), [[0, 1, 0, 0, 0, 0], [0] * 6])
  assert not truncate(mask, limits=0).any()


def test_efficiency_of_the_papers_table_and_of_nothing():
  number = lambda *x: efficiency(*(jnp.array(y, jnp.float32) for y in x))
  assert number(1.27, 0.569, 1.0, 1.0) == pytest.approx(0.474517, rel=1e-5)
  assert number(0.4, 50.0, 0.5, 100.0) == 0
  for nothing in ((0.5, 50.0, 0.0, 100.0), (0.5, 0.0, 0.4, 100.0), (0.5, 50.0, 0.4, 0.0)):
    assert number(*nothing) == 0


def test_an_unknown_kind_lists_the_known():
  with pytest.raises(ValueError, match="unknown kind 'linear'; known: cosine, stair, stair_cosine"):
    length_limit(0, kind="linear")


DRAWS = {
  "step": lambda rng, shape: rng.integers(0, 2000, shape).astype("int32"),
  "limits": lambda rng, shape: rng.integers(0, 4, shape).astype("int32"),
}

KERNELS = [
  *(Kernel(length_limit, {"step": "B"}, {"kind": kind}, mask=None, draws=DRAWS) for kind in ("cosine", "stair_cosine")),
  Kernel(truncate, {"mask": "BT", "limits": "B"}, draws=DRAWS),
  Kernel(
    efficiency,
    dict.fromkeys(["accuracy", "length", "base_accuracy", "base_length"], "B"),
    mask=None,
  ),
]
