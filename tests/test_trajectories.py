"""The batch: what counts, fields and extras set by name, rows by index."""

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
  assert batch.sampled_tokens == 3 and batch.sampled_tokens.dtype == jnp.int32


def test_an_empty_batch_holds_no_row_that_counts():
  empty = trajectories.Trajectories.empty(3, 5, 2, objectives=4)
  shapes = {"objectives": (3, 4)} | dict.fromkeys(("step_ids", "tokens", "old_logprobs", "loss_mask"), (3, 5))
  assert {name: getattr(empty, name).shape for name in shapes} == shapes
  assert empty.prompt_width == 2 and empty.trees == ()
  assert empty.extras == {} and empty.rewards.shape == (3,)
  np.testing.assert_array_equal(empty.step_ids, -1)
  rest = jax.tree.leaves(empty.replace(step_ids=empty.tokens))
  assert not any(x.any() for x in rest) and len(rest) == len(batch_of(LOSS_MASK).__dataclass_fields__) - 5


def test_fields_and_extras_are_set_by_name(batch):
  rewards, more = jnp.arange(4.0), jnp.ones((4, 3))
  new = batch.replace(rewards=rewards).with_extras(values=more)
  np.testing.assert_array_equal(new.rewards, rewards)
  assert set(new.extras) == {"a", "values"} and set(batch.extras) == {"a"}
  np.testing.assert_array_equal(new.with_extras(a=more).extras["a"], more)
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


def test_a_misspelt_field_is_refused(batch):
  with pytest.raises(TypeError, match="reward_masks"):
    batch.replace(reward_masks=batch.reward_mask)


def test_an_extra_with_the_name_of_a_field_is_refused(batch):
  with pytest.raises(
    ValueError, match=r"rewards, tokens: a field of the batch and not an extra: set it with replace\(\.\.\.\)"
  ):
    batch.with_extras(values=batch.rewards, tokens=batch.tokens, rewards=batch.rewards)
