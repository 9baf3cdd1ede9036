"""DAPO: rewards and kept groups by hand, and two iterations through the trainer."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.methods import dapo
from rl_jax.methods.method import check_options
from tests.methods.batches import TASK, batch_of, config_of
from tests.methods.two_iterations import assert_whole, two_iterations


def batch(**fields):
  lengths = np.array([2, 6, 5, 6])
  given = {"group_ids": [4, 4, 9, 9], "rewards": [1.0, 0.0, 1.0, 1.0], "extras": {"correct": [True, False, True, True]}}
  return batch_of(np.arange(6) < lengths[:, None], **given | fields)


def test_long_answers_pay_before_the_advantage_is_taken():
  """Of 6 tokens the last 2 cost 1/2 each: rewards 2, -1, 2 - 1/2, 2 - 1."""
  method = dapo.build(config_of(dapo, overlong_share=0.34, epsilon=0.0, ddof=0), TASK)
  streams, metrics = method.signal(batch(), jnp.int32(0))
  np.testing.assert_allclose(streams["policy"].targets[:, 0], [1, -1, 1, -1], atol=1e-6)
  np.testing.assert_allclose(metrics["overlong"].value, (1 + 1 / 2 + 1) / 4, rtol=1e-6)
  free = dapo.build(config_of(dapo, overlong_factor=0.0), TASK).signal(batch(), jnp.int32(0)).streams["policy"]
  assert not free.targets[2:].any() and free.targets[0, 0] > 0


def test_the_upper_clip_is_wider():
  rows = batch(old_logprobs=np.full((4, 6), -1.0), row_mask=[True, True, False, False])
  method = dapo.build(config_of(dapo, overlong_factor=0.0), TASK)
  streams = method.signal(rows, jnp.int32(0)).streams
  share = lambda ratio: float(
    method.loss(
      {"policy": {"logprobs": jnp.full((4, 6), -1.0 + np.log(ratio)), "entropies": jnp.zeros((4, 6))}}, rows, streams
    )
    .metrics["clip_fraction"]
    .value
  )
  np.testing.assert_allclose([share(1.27), share(1.29), share(0.79)], [0, 2 / 8, 6 / 8], rtol=1e-6)


def test_two_iterations_train_groups_with_right_and_wrong_answers_alone():
  done = two_iterations("dapo")
  assert_whole(done)
  for metrics in done.metrics:
    assert not metrics["zero_spread_rows"].any() and not metrics["unscored"].all()
    assert (metrics["rounds"] >= 1).all() and (metrics["kept"] > 0).all()
    assert ((0.25 <= metrics["reward"]) & (metrics["reward"] <= 0.75)).all()


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_that_makes_no_sense_is_refused(share):
  config = config_of(dapo, overlong_share=share)
  with pytest.raises(UserError, match=r"method.overlong_share: want a finite number above 0 and at most 1, got \d"):
    check_options(config, dapo)
