"""The batch: what counts, arrays set by name, rows by index."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax import trajectories
from tests.methods.batches import batch_of

ROW_MASK, REWARD_MASK = [True, True, False, False], [True, False, True, False]
LOSS_MASK = np.array([[0, 1, 1], [0, 0, 1], [1, 1, 1], [0, 0, 0]], bool)


@pytest.fixture
def batch():
  tokens, extras = np.arange(12).reshape(4, 3), {"a": np.arange(4)}
  return batch_of(LOSS_MASK, row_mask=ROW_MASK, reward_mask=REWARD_MASK, tokens=tokens, extras=extras)


def test_what_counts_by_hand(batch):
  np.testing.assert_array_equal(batch.scored, [True, False, False, False])
  np.testing.assert_array_equal(batch.trained, [[0, 1, 1], [0, 0, 1], [0] * 3, [0] * 3])
  np.testing.assert_array_equal(batch.response_lengths, [2, 1, 0, 0])


def test_arrays_are_fields_where_there_is_one_of_that_name(batch):
  rewards, more = jnp.arange(4.0), jnp.ones((4, 3))
  new = batch.with_arrays(rewards=rewards, values=more)
  np.testing.assert_array_equal(new.rewards, rewards)
  assert set(new.extras) == {"a", "values"} and set(batch.extras) == {"a"}
  np.testing.assert_array_equal(new.with_arrays(a=more).extras["a"], more)
  np.testing.assert_array_equal(new.tokens, batch.tokens)
  assert not np.array_equal(batch.rewards, rewards), "the batch itself does not change"


def test_rows_by_index_in_every_array(batch):
  some = batch.rows(jnp.array([3, 0, 0]))
  jax.tree.map(lambda got, all_rows: np.testing.assert_array_equal(got, np.asarray(all_rows)[[3, 0, 0]]), some, batch)
  assert some.extras["a"].tolist() == [3, 0, 0]


def test_a_batch_passes_through_jit_and_vmap(batch):
  lengths = jax.jit(jax.vmap(lambda b: b.response_lengths))(jax.tree.map(lambda x: jnp.stack([x, x]), batch))
  np.testing.assert_array_equal(lengths, [[2, 1, 0, 0]] * 2)


def test_sources_are_six_different_ids():
  names = ("POLICY", "PROMPT", "TOOL", "HINT", "REPLAY", "DEMONSTRATION")
  assert len({getattr(trajectories, name) for name in names}) == 6
