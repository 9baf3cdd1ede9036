from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.curricula import mixture
from tests.kernels.kernel import Kernel, compiled

RNG = np.random.default_rng(0)


def test_a_batch_is_divided_as_its_shares_within_one():
  allocate = compiled(mixture.allocate_batch, batch=17)
  for shares in (*RNG.dirichlet(np.ones(4), 20), np.array([1.0, 1.0, 1.0, 1.0]), np.array([1.0, 0.0, 0.0, 0.0])):
    counts = allocate(shares)
    assert counts.sum() == 17 and (abs(counts - 17 * shares / shares.sum()) < 1).all()
  assert allocate(np.ones(4)).tolist() == [5, 4, 4, 4] == allocate(np.zeros(4)).tolist()


def move(shares, histories, window=2, threshold=1.0, shift=0.2, floor=0.05):
  """The rule as a loop."""
  gains = [h[-1] - h[-1 - window] for h in histories]
  saturated = [g < threshold for g in gains]
  if any(saturated) and not all(saturated):
    pool, new = 0.0, list(shares)
    for d, share in enumerate(shares):
      if saturated[d]:
        given = min(shift * share, max(share - floor, 0))
        new[d], pool = share - given, pool + given
    weights = [0 if s else max(g, 0) for s, g in zip(saturated, gains, strict=True)]
    if not sum(weights):
      weights = [not s for s in saturated]
    shares = [share + pool * w / sum(weights) for share, w in zip(new, weights, strict=True)]
  return shares, saturated


def test_the_rule_against_a_loop():
  """Threshold 1, and -1, at which domains may fall and still not be saturated. The sum of the shares stays."""
  for threshold in (1.0, -1.0):
    for _ in range(8):
      shares, histories = RNG.dirichlet(np.ones(4)), 50 + np.cumsum(RNG.normal(size=(4, 5)), axis=1)
      found = compiled(mixture.rebalance, threshold=threshold)(shares, histories, np.ones((4, 5)))
      expected, saturated = move(shares, histories, threshold=threshold)
      np.testing.assert_allclose(found.shares, expected, rtol=1e-4, atol=1e-6)
      np.testing.assert_allclose(found.shares.sum(), 1, rtol=1e-5)
      assert found.saturated.tolist() == saturated and found.format_shift == all(saturated)


def test_a_domain_at_the_floor_gives_nothing_and_a_short_history_says_nothing():
  histories = np.array([[50.0] * 5, [50.0] * 5, [10.0, 20.0, 30.0, 40.0, 50.0], [50.0] * 5])
  shares, rebalance = np.array([0.04, 0.06, 0.4, 0.5], np.float32), compiled(mixture.rebalance, threshold=1.0)
  moved = rebalance(shares, histories, np.ones((4, 5)))
  np.testing.assert_allclose(moved.shares, [0.04, 0.05, 0.51, 0.4], rtol=1e-5)
  short = rebalance(shares, histories, np.arange(5) < np.array([[5.0], [5.0], [2.0], [5.0]]))
  np.testing.assert_array_equal(short.shares, shares)
  assert not short.known and not short.saturated.any() and not short.format_shift


def test_tokens_are_the_sum_of_all_batches_before():
  schedule = compiled(mixture.batch_schedule, starts=(0, 3, 5), batch_sizes=(2, 4, 8), length=10)
  sizes, tokens = schedule(np.arange(8))
  assert sizes.tolist() == [2, 2, 2, 4, 4, 8, 8, 8]
  np.testing.assert_array_equal(tokens, 10 * np.cumsum([0, *sizes[:-1]]))
  with pytest.raises(ValueError, match=r"a start for each size, ascending from 0, got \(1,\) and \(2,\)"):
    mixture.batch_schedule(jnp.arange(8), starts=(1,), batch_sizes=(2,))


def test_stages_begin_where_the_last_ends():
  stages = compiled(mixture.stage_at, lengths=(4, 2))(np.array([0.0, 3.5, 4.0, 5.9, 6.0, 99.0]))
  assert stages.number.tolist() == [0, 0, 1, 1, 2, 2]
  np.testing.assert_allclose(stages.tokens, [0, 3.5, 0, 1.9, 0, 0], rtol=1e-5)


SHARES = lambda rng, shape: rng.random(shape).astype(np.float32)
SIZES = {"D": 3, "E": 5, "N": 4}
DRAWS = {
  "shares": SHARES,
  "mask": lambda rng, shape: np.arange(shape[1]) < rng.integers(3, shape[1] + 1, (shape[0], 1)),
  "steps": lambda rng, shape: rng.integers(0, 200_000, shape).astype(np.int32),
  "tokens": lambda rng, shape: rng.integers(0, 9, shape).astype(np.int32),
}

KERNELS = [
  Kernel(mixture.allocate_batch, {"shares": "D"}, {"batch": 17}, mask=None, draws=DRAWS, sizes=SIZES),
  Kernel(
    mixture.rebalance,
    {"shares": "D", "histories": "DE", "mask": "DE"},
    {"threshold": 0.1},
    zero_masked=False,
    draws=DRAWS,
    sizes=SIZES,
  ),
  Kernel(mixture.batch_schedule, {"steps": "N"}, mask=None, draws=DRAWS, sizes=SIZES),
  Kernel(mixture.stage_at, {"tokens": "N"}, {"lengths": (4, 2)}, mask=None, draws=DRAWS, sizes=SIZES),
]
