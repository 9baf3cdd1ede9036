"""Length buckets: rows run as many slots as they need, and everything comes out as if they ran all."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.rollouts.sampler import SEED_AXIS
from rl_jax.training.lengths import Buckets, Layout
from rl_jax.training.sizes import Sizes
from rl_jax.trajectories import PrefixTrees, Trajectories
from tests.methods import batches
from tests.training import small

BUCKETS = Buckets(3)


def rows_of(lengths, trees=(), used=None) -> Trajectories:
  """Rows with a prompt in two slots and responses of some lengths in six."""
  mask = np.arange(8) < 2 + np.asarray(lengths)[:, None]
  used = np.ones(len(lengths), bool) if used is None else np.asarray(used)
  return batches.empty(len(lengths), 8, 2).replace(attention_mask=mask, row_mask=used, trees=trees)


def order_of(buckets: Buckets, rows: Trajectories) -> list[int]:
  return jax.jit(buckets.order)(rows).tolist()


def layout_of(buckets: Buckets, rows: Trajectories) -> tuple[int | None, int | None]:
  """Width and packed rows at which rows are run; None: all of them."""
  fields = lambda rows: (jnp.int32(rows.run_width or 0), jnp.int32(rows.run_rows or 0))
  width, count = jax.jit(lambda rows: buckets.switch(fields, rows))(rows)
  return int(width) or None, int(count) or None


@pytest.mark.parametrize(
  ("lengths", "width"), [([0, 1], 4), ([2, 2], 4), ([3, 0], 6), ([4], 6), ([5, 1], None), ([6], None)]
)
def test_the_narrowest_width_that_holds_all_rows(lengths, width):
  assert BUCKETS.layouts(rows_of(lengths)) == (Layout(2, 4), Layout(4, 6), Layout(6))
  assert layout_of(BUCKETS, rows_of(lengths)) == (width, None)


def test_rows_that_are_not_in_use_do_not_count():
  assert layout_of(BUCKETS, rows_of([6, 1], used=[False, True])) == (4, None)


def test_trees_are_cut_within_their_last_level():
  trees = (PrefixTrees(6, (2, 2), (2, 5)),)
  assert BUCKETS.layouts(rows_of([3, 3, 4, 4, 4, 4], trees)) == (Layout(6, 6), Layout(12, 7), Layout(18))


GROUPS = (PrefixTrees.groups(8, 4, 2),)


@pytest.mark.parametrize(
  ("lengths", "width", "count"),
  [
    ([2, 2, 2, 0], None, 1),
    ([2, 2, 2, 1], 4, None),
    ([3, 3, 2, 4], None, 2),
    ([3, 3, 3, 3], 5, None),  # two rows cost as much
    ([6, 3, 3, 1], None, 3),
    ([4, 4, 4, 4], 7, None),
    ([6, 4, 4, 4], None, None),
    ([0, 0, 0, 0], None, 1),
  ],
)
def test_the_cheapest_layout_of_responses_that_share_a_prompt(lengths, width, count):
  packs = Buckets(4, packs=True)
  rows = rows_of([*lengths, 1, 1, 1, 1], GROUPS)
  assert packs.layouts(rows) == (
    Layout(6, None, 1), Layout(8, 4), Layout(12, 5), Layout(12, None, 2), Layout(18, None, 3), Layout(20, 7), Layout(24)
  )  # fmt: skip
  assert layout_of(packs, rows) == (width, count)


def test_trees_of_several_levels_and_rows_of_their_own_are_not_packed():
  packs = Buckets(3, packs=True)
  for trees in ((), (PrefixTrees(6, (2, 2), (2, 5)),), (PrefixTrees.groups(6, 1, 2),)):
    assert all(layout.run_rows is None for layout in packs.layouts(rows_of([1] * 6, trees)))
    assert layout_of(packs, rows_of([1] * 6, trees))[0] < 8


def test_trees_of_several_shapes_stay_in_their_order():
  trees = (PrefixTrees.groups(2, 2, 2), PrefixTrees.groups(4, 2, 4))
  rows = rows_of([1, 1, 5, 6, 6, 6], trees)
  assert order_of(BUCKETS, rows) == [0, 1, 2, 3, 4, 5]


def test_longest_first_and_groups_together():
  assert order_of(BUCKETS, rows_of([1, 6, 2, 6])) == [1, 3, 2, 0]
  grouped = rows_of([1, 6, 2, 2, 0, 3], (PrefixTrees.groups(6, 2, 2),))
  assert order_of(BUCKETS, grouped) == [0, 1, 4, 5, 2, 3]
  packed = rows_of([2, 5, 1, 5, 0, 3], (PrefixTrees.groups(6, 2, 2),))
  assert order_of(Buckets(2, packs=True), packed) == [0, 1, 2, 3, 4, 5], "1 and 5 fit into one row, 2 and 5 do not"


def test_rows_come_back_in_their_order():
  rows = rows_of([1, 6, 2, 6, 0, 3])
  found = lambda part: (part.attention_mask.sum(axis=1), jnp.full(part.tokens.shape[0], part.run_width or 8))
  lengths, widths = jax.device_get(jax.jit(lambda rows: BUCKETS.map(found, rows, 3))(rows))
  assert (lengths - 2).tolist() == [1, 6, 2, 6, 0, 3]
  assert widths.tolist() == [4, 8, 6, 8, 4, 6]


@pytest.mark.parametrize("packs", [False, True])
def test_seeds_run_in_one_layout(packs):
  """Else every branch runs, and one of their results is selected."""
  trees = (PrefixTrees.groups(4, 4, 2),)
  both = jax.tree.map(lambda *x: np.stack(x), *(rows_of(lengths, trees) for lengths in ([6, 0, 0, 0], [3, 3, 3, 3])))
  fields = lambda rows: jnp.array([rows.run_width or 0, rows.run_rows or 0])
  together = jax.vmap(lambda rows: Buckets(4, SEED_AXIS, packs).switch(fields, rows), axis_name=SEED_AXIS)
  assert jax.jit(together)(both).tolist() == [[0, 2] if packs else [0, 0]] * 2
  assert " cond[" in str(jax.make_jaxpr(together)(both))


CASES = {
  "whole batch, reference": ("length_buckets=4", "method.kl_coefficient=0.1"),
  "minibatches": ("length_buckets=2", "minibatches_per_epoch=2", "epochs=2"),
  "micro-batches, unshared": ("length_buckets=3", "rows_per_microbatch=4", "model.shared_prompts=False"),
}


@pytest.mark.parametrize(
  ("case", "trees"),
  [
    ("whole batch, reference", False),
    *(pytest.param("minibatches", trees, marks=pytest.mark.slow) for trees in (False, True)),
    pytest.param("micro-batches, unshared", False, marks=pytest.mark.slow),
  ],
)
def test_the_curve_is_the_same_with_and_without(case, trees):
  options = CASES[case]
  plain = tuple(option for option in options if not option.startswith("length_buckets"))
  small.assert_same_curve(*(small.curve(*chosen, rows=16, trees=trees) for chosen in (options, plain)))


def test_short_rows_cost_less():
  """A run at the narrowest of four widths has as much fewer operations as it has fewer slots."""
  experiment = small.make_experiment("num_seeds=1", "completions_per_prompt=4")
  rows = small.make_trajectories(experiment, small.make_seed(experiment))
  model, params = experiment.models["policy"], small.make_seed(experiment).models["policy"].params
  widths = [layout.run_width or rows.tokens.shape[1] for layout in Buckets(4).layouts(rows)]
  flops = lambda width: (
    jax.jit(model.outputs).lower(params, rows.replace(run_width=width)).compile().cost_analysis()["flops"]
  )
  assert flops(widths[0]) < 1.05 * widths[0] / widths[-1] * flops(widths[-1])


def test_packed_responses_cost_less():
  """Prompts are run in full, and half of the rows have as many fewer operations in responses."""
  experiment = small.make_experiment("num_seeds=1", "completions_per_prompt=4")
  rows = small.make_trajectories(experiment, small.make_seed(experiment))
  rows = rows.replace(trees=(PrefixTrees.groups(rows.tokens.shape[0], 4, rows.prompt_width),))
  model, params = experiment.models["policy"], small.make_seed(experiment).models["policy"].params

  def flops(count):
    program = jax.jit(lambda params, rows: model.outputs(params, rows.replace(run_rows=count))["logprobs"])
    return program.lower(params, rows).compile().cost_analysis()["flops"]

  responses = rows.tokens.shape[1] - rows.prompt_width
  assert flops(2) < 1.1 * (rows.prompt_width + 2 * responses) / (rows.prompt_width + 4 * responses) * flops(4)


def test_errors():
  with pytest.raises(UserError, match="length_buckets: want a whole number at least 1, got 0"):
    small.make_experiment("length_buckets=0")
  with pytest.raises(UserError, match=r"rows of a minibatch \(8\) is not a multiple of length_buckets=3 times"):
    Sizes(1, 2, group=4, length_buckets=3).check(16)
