"""Replay: how many of each group, which wait, how long, and what is counted."""

from __future__ import annotations

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.rollouts.replay import places_in_group, with_replay
from rl_jax.rollouts.rollout import PhaseResult, Rollout, nothing_new
from rl_jax.trajectories import POLICY, PROMPT, REPLAY
from tests.methods.batches import batch_of

MADE = 6
TASK = types.SimpleNamespace(prompt_tokens=1, response_tokens=1, objectives=("a", "b"))


def test_places_in_groups_follow_the_draws():
  draws = jnp.array([0.3, 0.1, 0.2, 0.9, 0.5, 0.4])
  found = places_in_group(jnp.array([7, 7, 7, -3, -3, 40]), draws, jnp.array([1, 0, 1, 1, 1, 0], bool))
  np.testing.assert_array_equal(found, [1, 6, 0, 1, 0, 6])


def made(iteration, good):
  """Rows of two prompts whose one token names them: 10 * iteration + row."""
  names = 10 * iteration + np.arange(MADE)
  mask = np.tile([False, True], (MADE, 1))
  return batch_of(
    mask,
    prompt_width=1,
    tokens=np.where(mask, names[:, None], 0).astype(np.int32),
    source_ids=np.where(mask, POLICY, PROMPT).astype(np.int32),
    old_logprobs=np.where(mask, -names[:, None], 0).astype(np.float32),
    group_ids=np.repeat([0, 1], 3).astype(np.int32),
    prompt_ids=np.repeat([50 + iteration, 60 + iteration], 3).astype(np.int32),
    row_mask=np.arange(MADE) < 5,
    objectives=np.stack([names, -names], axis=1).astype(np.float32),
    extras={"worth": np.asarray(good, np.float32), "other": np.zeros((MADE, 2))},
  )


def run(goods, *, rows=3, rows_per_group=1, capacity=4, max_age=3):
  """Names of the new and of the old rows in the batch of each iteration, and what the phases of each made."""

  def phase(models, state, plan, prompts, trajectories, key):
    new = made(int(state), goods[int(state)])
    return PhaseResult(state + 1, new, nothing_new(new), new.sampled_tokens + 12)

  rollout = with_replay(
    TASK, Rollout((phase,), lambda key: jnp.int32(0)), lambda t: t.extras["worth"] != 0,
    rows=rows, rows_per_group=rows_per_group, capacity=capacity, max_age=max_age, extras={"worth": jnp.float32},
  )  # fmt: skip
  state, found = rollout.init(jax.random.key(0)), []
  nothing: Any = None
  for i in range(len(goods)):
    batch, before, results = None, jax.tree.map(lambda x: (x.shape, x.dtype), state), []
    for step in rollout.phases:
      results.append(step(nothing, state, nothing, nothing, batch, jax.random.key(i)))
      state, batch = results[-1].state, results[-1].trajectories
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == before
    found.append(results)
  names = [
    [sorted(int(t) for t in b.tokens[:, 1][b.row_mask & (b.source_ids[:, 1] == s)]) for s in (POLICY, REPLAY)]
    for *_, (_, b, *_) in found
  ]
  return names, found


ALL, FEW = [1] * MADE, [0] * MADE


def test_one_of_each_group_and_the_rest_later():
  names, made_in = run([ALL, FEW, FEW, FEW])
  (new, old), *later = names
  assert len(new) == 2 and new[0] in (0, 1, 2) and new[1] in (3, 4) and old == []
  assert [len(x) for x, _ in later] == [0, 0, 0] and [len(x) for _, x in later] == [3, 0, 0]
  assert sorted(new + later[0][1]) == [0, 1, 2, 3, 4], "all are trained on once, the unused row never"
  (*_, first), (*_, second) = made_in[:2]
  metrics = first.metrics["usable"].value, second.metrics["replayed"].value
  np.testing.assert_allclose(metrics, [5 / 3, 1])
  assert first.metrics.keys() == second.metrics.keys() == {"usable", "replayed"}
  second = second.trajectories
  np.testing.assert_array_equal(second.old_logprobs[:, 1], -second.tokens[:, 1])
  np.testing.assert_array_equal(second.objectives, np.multiply.outer(second.tokens[:, 1], [1, -1]))
  np.testing.assert_array_equal(second.group_ids, second.prompt_ids)
  assert second.extras.keys() == {"worth", "correct"}


def test_tokens_are_counted_when_they_are_made():
  _, made_in = run([ALL, FEW])
  assert [[int(result.generated_tokens) for result in results] for results in made_in] == [[5 + 6 * 2, 0]] * 2
  assert not any(result.verify.any() for results in made_in for result in results)


def test_old_rows_are_dropped():
  names, _ = run([ALL, ALL, ALL, FEW], rows=2, max_age=2)
  assert all(len(new) == 2 and old == [] for new, old in names[:3])
  assert len(names[3][1]) == 2 and all(20 <= name < 30 for name in names[3][1]), "of age 2 and more there are none"


def test_the_newest_wait_where_room_is_short():
  names, _ = run([ALL, ALL, FEW], rows=2, capacity=3)
  assert len(names[2][1]) == 2 and all(10 <= name < 20 for name in names[2][1])


def test_more_rows_than_there_can_be_are_refused():
  with pytest.raises(ValueError, match="a batch of 11 rows is too large: only 6 are made and 4 can wait"):
    run([ALL], rows=11)
