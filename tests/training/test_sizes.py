"""Minibatches: whole groups stay together, single rows where a config asks for them, and sizes that do not fit."""

from __future__ import annotations

import dataclasses
import functools
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rl_jax.errors import UserError
from rl_jax.kernels.reductions import Mean
from rl_jax.launching import launch
from rl_jax.methods.method import Loss, Stream, Term
from rl_jax.training import mesh, objectives
from rl_jax.training.sizes import Sizes, sizes_of
from rl_jax.training.state import ModelState
from rl_jax.training.trainer import Trainer, check_batch
from rl_jax.training.update import Objective, Watch, make_update
from tests.training import small

EPOCHS = 3
GROUPS = np.repeat([7, -3, 40, 2], 4)
"""Group ids of 16 rows, four of each group."""
SCATTERED = np.random.default_rng(0).permutation(GROUPS)
UNEVEN = np.repeat([5, 1, 9], [7, 6, 3])


@functools.cache
def together(group: int | None, minibatches: int, microbatch: int | None, ids: tuple[int, ...], key: int = 0):
  """Pairs of rows in one micro-batch, [B, B] counts over all updates, and the rows of the first minibatch in order."""
  rows = len(ids)
  batch = {"row": jnp.arange(rows), "group": jnp.asarray(ids)}
  number: Any = types.SimpleNamespace(outputs=lambda params, batch: {"x": params["x"]}, trained=lambda params: params)

  def loss(outputs, batch, streams) -> Loss:
    there = jnp.zeros(rows).at[batch["row"]].set(1.0)
    one = jnp.float32(batch["row"].shape[0])
    pairs = Mean(there[:, None] * there, jnp.float32(1.0))
    return Loss({"x": Term(Mean(outputs["policy"]["x"] * one, one))}, {"pairs": pairs})

  watch = Watch(lambda outputs, batch: batch["row"], lambda parts: parts.reshape(-1))
  optimizer = optax.sgd(0.1)
  objective = Objective({"policy": number}, {"policy": optimizer}, loss, watch)
  sizes = Sizes(EPOCHS, minibatches, group, microbatch)
  update = make_update(objective, sizes, group_ids=lambda batch: batch["group"])
  params = {"x": jnp.float32(0.0)}
  models = {"policy": ModelState(params, optimizer.init(params))}
  done = jax.jit(update)(models, jnp.int32(0), batch, {}, jax.random.key(key))
  assert np.isclose(done.models["policy"].params["x"], -0.1 * EPOCHS * minibatches), "one step for each minibatch"
  return np.asarray(done.metrics["pairs"].sum), np.asarray(done.watched)


@pytest.mark.parametrize("ids", [GROUPS, SCATTERED], ids=["in order", "scattered"])
@pytest.mark.parametrize("minibatches, microbatch", [(2, None), (4, None), (2, 4)])
def test_all_rows_of_a_group_are_in_one_minibatch_and_micro_batch(ids, minibatches, microbatch):
  pairs, first = together(4, minibatches, microbatch, tuple(ids.tolist()))
  same = ids[:, None] == ids
  np.testing.assert_array_equal(pairs[same], EPOCHS)
  assert np.all(np.diff(np.flatnonzero(np.diff(ids[first]))) == 4), "groups are next to one another, for shards"


def test_groups_are_shuffled_anew_in_every_epoch_and_so_are_their_rows():
  ids = tuple(GROUPS.tolist())
  pairs, _ = together(4, 2, None, ids, key=1)
  apart = pairs[GROUPS[:, None] != GROUPS]
  assert set(apart.ravel()) - {0, EPOCHS}, "other groups come together in other epochs"
  firsts = {tuple(together(4, 2, None, ids, key)[1].tolist()) for key in range(3)}
  assert len(firsts) == 3


def test_groups_of_other_sizes_lose_no_row():
  pairs, _ = together(4, 2, None, tuple(UNEVEN.tolist()))
  np.testing.assert_array_equal(np.diag(pairs), EPOCHS)


def test_single_rows_are_shuffled_as_before():
  """The order of recorded runs: a permutation of rows by a key of the epoch."""
  pairs, first = together(None, 4, None, tuple(GROUPS.tolist()))
  order = jax.random.permutation(jax.random.fold_in(jax.random.key(0), 0), 16)
  np.testing.assert_array_equal(first, order[:4])
  np.testing.assert_array_equal(np.diag(pairs), EPOCHS)
  assert pairs[GROUPS[:, None] == GROUPS].min() < EPOCHS, "groups are split"


def test_groups_are_the_default_and_rows_that_of_configs_without_the_field():
  config = small.make_config()
  assert sizes_of(config).group == config.completions_per_prompt == 4
  assert sizes_of(small.make_config("minibatches_of=rows")).group is None
  older = small.make_config().unlock()
  del older.minibatches_of
  assert sizes_of(older).group is None


@pytest.mark.parametrize("kind, groups", [("groups", 1), ("rows", 2)])
def test_a_method_is_updated_on_what_its_config_asks_for(kind, groups, monkeypatch):
  """GRPO on two prompts of four rows each, in two minibatches."""
  experiment = small.make_experiment("minibatches_per_epoch=2", f"minibatches_of={kind}", "num_seeds=1")
  seen = Watch(lambda outputs, rows: rows.group_ids, lambda parts: parts.reshape(-1))
  monkeypatch.setattr(objectives, "WATCH", seen)
  seed = small.make_seed(experiment)
  rows = small.make_trajectories(experiment, seed)
  streams = {"policy": Stream(targets=jnp.ones(rows.tokens.shape), weights=rows.trained.astype(jnp.float32))}
  update = jax.jit(objectives.update_of_method(experiment))
  done = update(seed.models, seed.skipped_in_a_row, rows, streams, jax.random.key(0))
  assert done.watched.shape == (4,) and len(np.unique(done.watched)) == groups


def test_minibatches_that_cannot_hold_whole_groups_are_refused_before_anything_is_compiled(tmp_path):
  asked = ("minibatches_per_epoch=4",)  # 2 x 4 rows
  config = small.make_config(*asked)
  expected = (
    r"rows of a minibatch \(2\) are not whole groups of 4 rows \(completions_per_prompt\).*minibatches_of='rows'"
  )
  with pytest.raises(UserError, match=expected) as refused:
    launch.train(config, tmp_path / "run")
  assert "\n" not in str(refused.value)
  experiment = small.make_experiment(*asked, "minibatches_of=rows")
  assert Trainer(experiment, mesh.make_mesh(experiment.config.mesh)).iterations == 0


def test_a_mesh_that_cuts_groups_is_said_before_anything_is_compiled():
  """Two groups of four rows on four shards; on two each holds a group."""
  experiment = small.make_experiment("num_seeds=1")
  of = lambda shards: types.SimpleNamespace(shape={"data": shards, "fsdp": 1, "tensor": 1})
  (note,) = check_batch(experiment, of(4))
  assert "4 shards, which cut groups of 4 rows" in note and "\n" not in note
  assert check_batch(experiment, of(2)) == check_batch(experiment, of(1)) == []
  for minibatches, shards in ((1, 4), (4, 1), (4, 2)):
    single = ("num_seeds=1", "minibatches_of=rows", f"minibatches_per_epoch={minibatches}")
    assert check_batch(small.make_experiment(*single), of(shards)) == []


def test_something_unknown_to_draw_minibatches_from_is_named():
  with pytest.raises(UserError, match="minibatches_of is one of rows, groups, got 'prompts'"):
    small.make_experiment("minibatches_of=prompts")


FIT = Sizes(epochs=1, minibatches_per_epoch=2, group=4, rows_per_microbatch=4, shards=2)
REFUSED = [
  (
    {},
    15,
    "rows of an iteration (15) is not a multiple of the mesh's shards of rows (2): change prompts_per_iteration or "
    "completions_per_prompt, or the axes of the mesh",
  ),
  (
    {"minibatches_per_epoch": 3},
    16,
    "rows of an iteration (16) is not a multiple of minibatches_per_epoch (3): minibatches_per_epoch=2 or 4",
  ),
  (
    {"minibatches_per_epoch": 8, "shards": 4},
    16,
    "rows of a minibatch (2) is not a multiple of the mesh's shards of rows (4): minibatches_per_epoch=4 would do",
  ),
  ({"group": 3}, 16, "rows of a minibatch (8) are not whole groups of 3 rows (completions_per_prompt): single rows"),
  (
    {"rows_per_microbatch": 3},
    16,
    "rows of a minibatch (8) is not a multiple of rows_per_microbatch (3): rows_per_microbatch=4 would do",
  ),
  (
    {"rows_per_microbatch": 2},
    16,
    "rows_per_microbatch (2) are not whole groups of 4 rows (completions_per_prompt): "
    "rows_per_microbatch=4 would do, or single rows with minibatches_of='rows'",
  ),
  (
    {"rows_per_microbatch": 1},
    16,
    "rows_per_microbatch (1) is not a multiple of the mesh's shards of rows (2): rows_per_microbatch=4 would do",
  ),
  (
    {"minibatches_per_epoch": 1, "rows_per_microbatch": None, "length_buckets": 1000},
    32,
    "rows of a minibatch (32) is not a multiple of length_buckets=1000 times the rows of a prompt times the mesh's "
    "shards of rows (8000): length_buckets=4 would do",
  ),
  (
    {"minibatches_per_epoch": 7, "group": None, "shards": 1},
    32,
    "rows of an iteration (32) is not a multiple of minibatches_per_epoch (7): minibatches_per_epoch=4 or 8 would do",
  ),
  (
    {"minibatches_per_epoch": 1, "group": 1, "shards": 1, "rows_per_microbatch": 5},
    32,
    "rows of a minibatch (32) is not a multiple of rows_per_microbatch (5): rows_per_microbatch=4 or 8 would do",
  ),
]


@pytest.mark.parametrize("changes, rows, expected", REFUSED)
def test_sizes_that_do_not_divide_are_named_with_near_ones(changes, rows, expected):
  with pytest.raises(UserError) as refused:
    dataclasses.replace(FIT, **changes).check(rows)
  assert str(refused.value).startswith(expected) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
  "changes",
  [
    {}, {"rows_per_microbatch": None}, {"rows_per_microbatch": 0},
    {"minibatches_per_epoch": 1, "group": 3, "rows_per_microbatch": None}, {"rows_per_microbatch": 2, "group": None},
  ],
)  # fmt: skip
def test_sizes_that_divide_are_taken(changes):
  """A single minibatch holds all groups, of whatever size."""
  dataclasses.replace(FIT, **changes).check(16)


def test_an_iteration_has_as_many_updates_as_passes_times_minibatches():
  assert dataclasses.replace(FIT, epochs=3).updates == 6
