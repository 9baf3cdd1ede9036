"""Trees: advantages by hand, and that every node is its parent's text and a segment of its own."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.rollouts.rollout import BoundModel
from rl_jax.rollouts.sampler import Sampling
from rl_jax.rollouts.tree import nodes_of, tree, tree_advantages
from rl_jax.trajectories import POLICY, PROMPT
from tests.methods.batches import batch_of
from tests.methods.two_iterations import even
from tests.rollouts.collecting import collected
from tests.training import small

BRANCHING, TOKENS = (3, 2, 2), 2


def advantages_of(rows, levels, scale="none"):
  """As one program: quicker to make than one for each operation."""
  return jax.device_get(jax.jit(functools.partial(tree_advantages, levels=levels, scale=scale))(rows))


def test_advantages_by_hand():
  """Group 7: children with leaves (1, 0, 1), (1, 1, 1) and an early leaf 0. Group -3: one child, an unscored leaf."""
  parents = [-1, -1, -1, 0, 0, 0, 1, 1, 1, -1, 9, 9, 9]
  leaf = np.array([0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1], bool)
  rows = batch_of(
    np.ones((13, 1)),
    rewards=[9, 9, 0, 1, 0, 1, 1, 1, 1, 9, 1, 0, 9],
    group_ids=[7] * 9 + [-3] * 4,
    reward_mask=leaf & (np.arange(13) != 12),
    unfinished=~leaf,
    extras={"parents": parents, "is_leaf": leaf},
  )
  found = advantages_of(rows, 2)
  np.testing.assert_allclose(found.values[:3], [2 / 3, 1, 0], atol=1e-6)
  expected = [1 / 9, 4 / 9, -5 / 9, 1 / 3, -2 / 3, 1 / 3, 0, 0, 0, 0, 0.5, -0.5, 0]
  np.testing.assert_allclose(found.advantages, expected, atol=1e-6)
  scaled = advantages_of(rows, 2, "group").advantages
  np.testing.assert_allclose(scaled[:3], np.array(expected[:3]) / np.std([2 / 3, 1, 0]), atol=1e-5)


@functools.cache
def grown():
  experiment = small.make_experiment("num_seeds=1")
  task = even(experiment.task)
  params = small.make_seed(experiment).models["policy"].params
  plan, _ = experiment.method.curriculum.next((), task, jax.random.key(1))
  plan = plan.replace(response_limits=plan.response_limits - jnp.repeat(jnp.array([0, 5]), 4))
  models = {"policy": BoundModel(experiment.models["policy"], params)}
  rollout = tree(task, BRANCHING, TOKENS, Sampling())
  run = jax.jit(lambda key: collected(rollout, models, (), plan, task, key))
  result = jax.device_get(run(jax.random.key(0)))
  assert result.generated_tokens == result.trajectories.loss_mask.sum()
  return task, plan, result.trajectories


def test_children_go_on_from_their_parents():
  task, _, rows = grown()
  assert rows.tokens.shape[0] == 2 * nodes_of(BRANCHING) == 2 * (3 + 6 + 12)
  parents, depths = rows.extras["parents"], rows.extras["depths"]
  lengths = rows.attention_mask[:, task.prompt_tokens :].sum(axis=1)
  for row in np.flatnonzero(rows.row_mask):
    own = rows.loss_mask[row]
    before = rows.attention_mask[row] & ~own
    assert own.any() and own.sum() <= (TOKENS if depths[row] < 2 else task.response_tokens)
    assert (rows.source_ids[row][own] == POLICY).all() and (rows.source_ids[row][before] == PROMPT).all()
    if depths[row] == 0:
      assert parents[row] == -1 and before.sum() == rows.attention_mask[row, : task.prompt_tokens].sum()
      continue
    parent = parents[row]
    assert depths[parent] == depths[row] - 1 and rows.row_mask[parent] and not rows.extras["is_leaf"][parent]
    assert rows.group_ids[parent] == rows.group_ids[row] and lengths[row] == lengths[parent] + own.sum()
    text = rows.attention_mask[parent]
    np.testing.assert_array_equal(before, text)
    np.testing.assert_array_equal(rows.tokens[row][text], rows.tokens[parent][text])
    np.testing.assert_array_equal(rows.old_logprobs[row][text], rows.old_logprobs[parent][text])


def test_a_node_either_branches_or_is_scored():
  task, plan, rows = grown()
  parents, leaf = rows.extras["parents"], rows.extras["is_leaf"]
  children = np.bincount(parents[rows.row_mask & (parents >= 0)], minlength=len(parents))
  depth = rows.extras["depths"]
  branching = np.array([*BRANCHING[1:], 0])[depth]
  np.testing.assert_array_equal(children, np.where(rows.row_mask & ~leaf, branching, 0))
  np.testing.assert_array_equal(leaf, rows.scored)
  np.testing.assert_array_equal(rows.unfinished, rows.row_mask & ~leaf)
  assert (leaf & (depth < 2)).any() and (depth[~rows.row_mask] > 0).all() and not rows.unfinished[depth == 2].any()
  limits = np.asarray(plan.response_limits).reshape(2, -1).max(axis=1)[rows.group_ids]
  lengths = rows.attention_mask[:, task.prompt_tokens :].sum(axis=1)
  assert (lengths <= limits).all()
  ended = (rows.tokens == task.vocabulary.end_id) & rows.loss_mask
  np.testing.assert_array_equal(rows.truncated, leaf & ~ended.any(axis=1))
  assert (lengths[rows.truncated] == limits[rows.truncated]).all() and rows.truncated.any()


def test_siblings_add_up_to_nothing():
  _, _, rows = grown()
  found = advantages_of(rows, 3)
  keys = rows.extras["parents"] * 100 + rows.group_ids
  sums = [found.advantages[rows.row_mask & (keys == key)].sum() for key in np.unique(keys[rows.row_mask])]
  np.testing.assert_allclose(sums, 0, atol=1e-6)
  assert found.keep.any() and not found.advantages[~rows.row_mask].any()


@pytest.mark.parametrize(("branching", "tokens"), [((), 4), ((2, 0), 4), ((2,), 0)])
def test_trees_that_do_not_grow_are_refused(branching, tokens):
  with pytest.raises(ValueError, match="levels of at least one child"):
    tree(None, branching, tokens, Sampling())


def test_a_tree_without_room_for_its_last_level_is_refused():
  task = small.make_experiment("num_seeds=1").task
  with pytest.raises(ValueError, match=f"level 3 begins after {2 * task.response_tokens} tokens, and a response has"):
    tree(task, (2, 2, 2), task.response_tokens, Sampling())


def test_rows_share_what_their_trees_say():
  """Every node's text before its own is its parent's, slot by slot, and its own begins where its level does."""
  task, _, rows = grown()
  (trees,) = rows.trees
  assert trees.children == BRANCHING and trees.rows == rows.tokens.shape[0] and trees.size == nodes_of(BRANCHING)
  assert trees.starts == tuple(task.prompt_tokens + TOKENS * level for level in range(3))
  starts = np.array(trees.starts)[rows.extras["depths"]]
  used = np.flatnonzero(rows.row_mask)
  np.testing.assert_array_equal(rows.loss_mask.argmax(axis=1)[used], starts[used])
  np.testing.assert_array_equal(rows.group_ids, np.repeat(np.arange(2), trees.size))
