from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages import group
from tests.kernels.kernel import Kernel

REWARDS = jnp.array([1.0, 0.0, jnp.nan, 0.25, 0.75, 0.5])
IDS = jnp.array([7, 7, 7, -3, -3, 40])
SCORED = jnp.array([True, True, False, True, True, True])
ARGS = REWARDS, IDS, SCORED


def test_unscored_rows_are_left_out_and_get_zero():
  np.testing.assert_allclose(group.dr_grpo(*ARGS), [0.5, -0.5, 0, -0.25, 0.25, 0.5])
  np.testing.assert_allclose(group.rloo(*ARGS), [1, -1, 0, -0.5, 0.5, 0.5])
  np.testing.assert_allclose(group.grpo(*ARGS, eps=0.0, ddof=0), [1, -1, 0, -1, 1, 0.5])


def test_maxrl_by_hand():
  """One of four solved: advantages 3 and -1; all solved, none solved, a mean below 0: no gradient."""
  rewards = jnp.array([1.0, 0, 0, 0, 1, 1, 0, 0, -1, 0])
  ids, mask = jnp.array([0, 0, 0, 0, 1, 1, 2, 2, 3, 3]), jnp.ones(10, bool)
  np.testing.assert_allclose(group.maxrl(rewards, ids, mask, eps=0.0), [3, -1, -1, -1, 0, 0, 0, 0, 0, 0], rtol=1e-6)


def test_the_gradient_of_maxrl_is_that_of_log_p_up_to_its_order():
  """Exact expectation over the answers of n rows: the slope of -sum_k (1 - p)^k / k for k = 1 .. n - 1."""
  p, n = 0.3, 3
  total = 0.0
  for outcome in np.ndindex(*[2] * n):
    rewards = np.array(outcome, float)
    chance = np.prod(np.where(rewards == 1, p, 1 - p))
    score = np.where(rewards == 1, 1 / p, -1 / (1 - p))  # d log prob(answer) / dp
    advantages = group.maxrl(jnp.array(rewards), jnp.zeros(n, jnp.int32), jnp.ones(n, bool), eps=0.0)
    total += chance * (np.asarray(advantages) * score).mean()
  np.testing.assert_allclose(total, sum((1 - p) ** k for k in range(n - 1)), rtol=1e-5)


@pytest.mark.parametrize("counted, alpha", [("varying", 5 / 4), ("nonzero", 5 / 4), ("all", 1.0)])
def test_gpg_mends_the_mean_over_rows_without_a_gradient(counted, alpha):
  """Of five scored rows four are in groups that vary, and four have a reward other than 0."""
  np.testing.assert_allclose(group.gpg(*ARGS, counted=counted), alpha * group.dr_grpo(*ARGS), rtol=1e-6)
  assert not group.gpg(jnp.zeros(6), IDS, SCORED, counted=counted).any()


@pytest.mark.parametrize("estimator", [group.grpo, group.dr_grpo, group.rloo])
def test_a_group_of_one(estimator):
  assert estimator(*ARGS, singleton="raw")[5] == pytest.approx(0.5, rel=1e-5)
  assert estimator(*ARGS, singleton="zero")[5] == 0


def test_batch_scale_is_the_std_of_all_scored_rewards():
  std = np.std([1.0, 0.0, 0.25, 0.75, 0.5], ddof=1)
  expected = np.array([0.5, -0.5, 0, -0.25, 0.25, 0.0]) / (std + 1e-4)
  np.testing.assert_allclose(group.grpo(*ARGS, scale="batch", eps=1e-4, singleton="zero"), expected, rtol=1e-6)


def test_leave_one_out_is_the_mean_of_the_others():
  rng = np.random.default_rng(0)
  rewards, ids = rng.normal(size=9), np.arange(9) % 2
  expected = [
    r - np.mean([q for j, q in enumerate(rewards) if ids[j] == ids[i] and j != i]) for i, r in enumerate(rewards)
  ]
  actual = group.rloo(jnp.array(rewards), jnp.array(ids), jnp.ones(9, bool))
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_reductions_to_each_other():
  ids, mask = jnp.array([1, 1, 1, 1]), jnp.ones(4, bool)
  rewards = jnp.array([0.3, 0.1, 0.9, 0.4])
  np.testing.assert_allclose(group.rloo(rewards, ids, mask), 4 / 3 * group.dr_grpo(rewards, ids, mask), rtol=1e-6)
  # Equal lengths: OPO's baseline is the mean. One objective in one group: GDPO is GRPO up to the second eps.
  opo = group.opo(rewards, ids, jnp.full(4, 9), mask)
  np.testing.assert_allclose(opo, group.dr_grpo(rewards, ids, mask), atol=1e-7)
  np.testing.assert_allclose(group.gdpo(rewards[:, None], ids, mask, eps=0), group.grpo(rewards, ids, mask), rtol=1e-5)


def test_degenerate_batches():
  same = jnp.full(6, 0.1)
  for scale in ("group", "batch", "none"):
    assert not group.grpo(same, jnp.zeros(6, jnp.int32), jnp.ones(6, bool), scale=scale, eps=0.0).any()
  nobody = jnp.zeros(6, bool)
  assert not group.opo(REWARDS, IDS, jnp.zeros(6), nobody).any()
  assert not group.gdpo(jnp.stack([REWARDS] * 2, axis=1), IDS, nobody).any()


def test_an_unknown_option_lists_the_known():
  with pytest.raises(ValueError, match="unknown scale 'std'; known: group, batch, none"):
    group.grpo(*ARGS, scale="std")
  with pytest.raises(ValueError, match=r"expected arrays of one shape \[B\]"):
    group.grpo(jnp.ones((2, 3)), IDS, SCORED)


ROWS = {"rewards": "B", "group_ids": "B", "mask": "B"}


def _grpo(**options):
  scope = "batch" if options.get("scale") == "batch" else "group"
  return Kernel(group.grpo, ROWS, options, scope=scope)


KERNELS = [
  _grpo(),
  _grpo(scale="batch"),
  _grpo(scale="none", singleton="zero"),
  _grpo(ddof=0),
  Kernel(group.dr_grpo, ROWS, scope="group"),
  Kernel(group.rloo, ROWS, scope="group"),
  Kernel(group.rloo, ROWS, {"singleton": "zero"}, scope="group"),
  Kernel(group.maxrl, ROWS, scope="group"),
  Kernel(group.maxrl, ROWS, {"singleton": "raw"}, scope="group"),
  Kernel(group.gpg, ROWS, scope="batch"),
  Kernel(group.gpg, ROWS, {"counted": "nonzero", "scale": "group"}, scope="batch"),
  Kernel(group.opo, {**ROWS, "lengths": "B"}, scope="group"),
  Kernel(group.gdpo, {**ROWS, "rewards": "BK"}, scope="batch"),
  Kernel(group.gdpo, {**ROWS, "rewards": "BK"}, {"normalization": "none"}, scope="group"),
  Kernel(group.reinforce_pp_baseline, {**ROWS, "token_mask": "BT"}, scope="batch"),
  Kernel(group.remax, {"token_rewards": "BT", "baselines": "B", "mask": "BT"}),
]
