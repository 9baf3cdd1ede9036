"""Supervised learning: the mean negative log likelihood of demonstrated tokens."""

from __future__ import annotations

import numpy as np

from rl_jax.methods import supervised
from rl_jax.methods.method import ModelRole
from rl_jax.tasks import chain
from tests.methods.batches import batch_of, config_of

LOSS_MASK = np.array([[0, 1, 1], [0, 1, 0], [0, 1, 1]], bool)
LOGPROBS = np.array([[np.nan, -1.0, -2.0], [np.nan, -4.0, np.inf], [np.nan, -7.0, -7.0]], np.float32)
METHOD = supervised.build(config_of("supervised"), chain.build({}))


def loss_of(**fields):
  batch = batch_of(LOSS_MASK, row_mask=np.array([True, True, False]), **fields)
  outputs = {"policy": {"logprobs": LOGPROBS, "entropies": np.where(LOSS_MASK, 0.5, np.nan)}}
  return METHOD.loss(outputs, batch, METHOD.signal(batch, np.int32(0)).streams)


def test_nll_by_hand():
  loss = loss_of()
  assert set(loss.terms) == {"nll"}
  mean = loss.terms["nll"].mean
  assert (float(mean.sum), float(mean.weight)) == (7.0, 3.0)
  assert loss.metrics["entropy"].value == 0.5


def test_wrong_and_unscored_demonstrations_count_like_right_ones():
  other = loss_of(rewards=[1.0, -5.0, 0.0], reward_mask=[False, True, True])
  assert other.terms["nll"].mean.value == loss_of().terms["nll"].mean.value


def test_one_policy_and_a_demonstration_per_prompt():
  assert METHOD.models == {"policy": ModelRole()} and not METHOD.scoring
  assert len(METHOD.rollout.phases) == 1
