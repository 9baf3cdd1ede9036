"""R3: the spec's worked example, what is ranked, reductions, and iterations that replay and reflect."""

from __future__ import annotations

import json
import types

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.kernels.advantages.group import grpo
from rl_jax.methods import r3
from rl_jax.methods.method import check_options
from rl_jax.tasks.task import Vocabulary
from rl_jax.trajectories import REPLAY
from tests.kernels import goldens
from tests.methods.batches import TASK, batch_of, config_of
from tests.methods.two_iterations import assert_whole, two_iterations

WIDTH = 12
PLAIN = {"max_length": 1, "ranking_reward": 0.0, "replayed": 0, "reflected_prompts": 0}
"""Options without which it is GRPO."""


def task():
  return types.SimpleNamespace(
    **vars(TASK), vocabulary=Vocabulary(("<pad>", "<end>", "=")), prompt_tokens=2, sizes={"train": 9}
  )


def built(**options):
  return r3.build(config_of(r3, **options), task())


def batch(correct, lengths, ids, *, truncated=False, replayed=False, entropies=None, **fields):
  """Rows of these lengths."""
  mask = np.arange(WIDTH) < np.asarray(lengths)[:, None]
  every = lambda x: np.broadcast_to(np.asarray(x, bool), len(mask))
  extras = {
    "behaviour_entropies": np.ones(mask.shape, np.float32) if entropies is None else entropies,
    "correct": every(correct), "replayed": every(replayed), "reflecting": every(False),
  }  # fmt: skip
  values = {"rewards": np.float32(correct), "group_ids": np.asarray(ids), "truncated": every(truncated)}
  return batch_of(mask, extras=extras, **values | fields)


def signal_of(trajectories, **options):
  return built(**options).signal(trajectories, jnp.int32(0))


# Hand-computed.


def test_the_worked_example_of_the_spec():
  """Five responses fail, four of them cut; two past ones of six and eight tokens are right and join them."""
  case = next(
    case for case in json.loads((goldens.FOLDER / "r3.json").read_text()) if case["name"] == "all_wrong_with_history"
  )
  inputs, outputs = case["inputs"], case["outputs"]
  old = len(outputs["replay_index"])
  lengths = [*inputs["lengths"], *(inputs["buffer_lengths"][slot] for slot in outputs["replay_index"])]
  entropies = np.concatenate([np.float32(inputs["entropies"]), np.full((old, WIDTH), np.nan, np.float32)])
  rows = batch(
    [0] * 5 + [1] * old, lengths, [7] * len(lengths), truncated=[*inputs["truncated"], *[0] * old],
    replayed=[False] * 5 + [True] * old, entropies=entropies,
  )  # fmt: skip
  options = {"top_share": inputs["p"], "ranking_reward": inputs["r_max"], "max_length": inputs["len_max"]}
  streams, metrics = signal_of(rows, alpha=inputs["alpha"], lam=inputs["lam"], **options)
  advantages = np.float32([*outputs["advantages"], *outputs["replay_advantages"]])
  wanted = np.where(np.arange(WIDTH) < np.array(lengths)[:, None], advantages[:, None], 0)
  np.testing.assert_allclose(streams["policy"].targets, wanted, rtol=1e-5)
  np.testing.assert_allclose(metrics["ranking_reward"].value, np.mean(outputs["serr"]), rtol=1e-5)
  np.testing.assert_allclose(metrics["informative"].value, 1.0)


def test_a_short_right_response_earns_more():
  """Lengths 3 and 9 of L_max 4 * 6: rewards 1.875 and 1.625, whose deviations are one half of 0.25."""
  targets = signal_of(batch([1, 1], [3, 9], [0, 0]), lam=0.0).streams["policy"].targets
  np.testing.assert_allclose(targets[:, 0], [0.5**0.5, -(0.5**0.5)], rtol=1e-5)


def test_what_counts_as_informative():
  """Groups: mixed; all wrong and whole; all wrong, joined by a past one. Of new rows, four of six."""
  rows = batch([1, 0, 0, 0, 0, 0, 1], [4] * 7, [0, 0, 1, 1, 2, 2, 2], replayed=[False] * 6 + [True])
  metrics = signal_of(rows).metrics
  np.testing.assert_allclose(metrics["informative"].value, 4 / 6, rtol=1e-6)
  np.testing.assert_allclose(metrics["plain_reward"].value, 1 / 6, rtol=1e-6)


# Reductions.


def test_without_its_parts_it_is_grpo():
  rng = np.random.default_rng(0)
  correct, ids = rng.integers(0, 2, 8), [3] * 4 + [-1] * 4
  rows = batch(correct, rng.integers(1, WIDTH, 8), ids, truncated=True, entropies=rng.random((8, WIDTH), np.float32))
  targets = signal_of(rows, **PLAIN).streams["policy"].targets
  np.testing.assert_allclose(targets[:, 0], grpo(rows.rewards, rows.group_ids, rows.scored), rtol=1e-5)
  assert np.abs(signal_of(rows).streams["policy"].targets - targets).max() > 0.01


# Edge cases.


def test_unscored_rows_count_for_nothing():
  rows = batch([1, 0, 0], [4] * 3, [5] * 3, reward_mask=np.array([True, True, False]))
  streams, metrics = signal_of(rows.replace(rewards=jnp.array([1.0, 0.0, jnp.nan])), max_length=1)
  np.testing.assert_allclose(streams["policy"].targets[:, 0], [0.5**0.5, -(0.5**0.5), 0], rtol=1e-5)
  assert not streams["policy"].weights[2].any()
  np.testing.assert_allclose(metrics["plain_reward"].value, 0.5)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"ties": "random"}, "method.ties is one of average, stable, got 'random'"),
    ({"old_logprobs": "trainer"}, "method.old_logprobs is one of sampler, got 'trainer'"),
    ({"replayed": 3, "kept": 2}, "3 past responses cannot join a group, as 2 right and 2 wrong ones are kept"),
    ({"pool": 1}, "method.pool=1: take 2 at least, the prompts of an iteration"),
    ({"instruction": "why?"}, "are not in the vocabulary"),
  ],
)
def test_options_that_make_no_sense_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    built(**options)


@pytest.mark.parametrize(
  ("option", "value"), [("pool", 0), ("replayed", -1), ("ranking_reward", 1.0), ("alpha", 0.0), ("reflect_below", 1.5)]
)
def test_numbers_out_of_range_are_refused(option, value):
  with pytest.raises(UserError, match=f"method.{option}: want"):
    check_options(config_of(r3, **{option: value}), r3)


# Through the trainer.


def test_two_iterations():
  """One prompt, twice in each: in the second iteration it has a past and is asked again after a wrong response."""
  options = ("task.pool_size=1", "method.pool=2", "method.kept=4", "method.reflect_below=1.0", "method.instruction==")
  done = two_iterations("r3", *options)
  assert_whole(done)
  first, second = done.metrics
  assert (first["reflections"] == 0).all() and (first["replayed"] == 0).all()
  assert (second["reflections"] > 0).any()
  past = done.trainer.state.seeds.rollout
  for kind in (past.right, past.wrong):
    assert (np.asarray(kind.source_ids)[np.asarray(kind.loss_mask)] == REPLAY).all() and np.asarray(kind.row_mask).any()
  np.testing.assert_array_equal(past.responses, [[8, 0], [8, 0]])
