"""Training with prompts that are run once for their rows: the curve of training without, whatever rows are cut into."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from rl_jax.training import iteration, objectives
from rl_jax.training.sizes import Sizes
from tests.training import small

CUTS = {
  "whole": (),
  "minibatches": ("minibatches_per_epoch=2", "epochs=2"),
  "micro-batches": ("rows_per_microbatch=4",),
  "single rows": ("minibatches_per_epoch=2", "minibatches_of=rows"),
  "reference": ("method.kl_coefficient=0.1",),
}
USUAL = (("reference", True),)
"""Cut, and whether rows are trees; the other pairs are slow. tests/training/test_lengths.py has rows without trees."""
PAIRS = [
  (cut, trees) if (cut, trees) in USUAL else pytest.param(cut, trees, marks=pytest.mark.slow)
  for cut in CUTS
  for trees in (False, True)
  if not (trees and cut in ("whole", "single rows"))
]


@pytest.mark.parametrize(("cut", "trees"), PAIRS)
def test_the_curve_is_the_same_with_and_without(cut, trees):
  shared, alone = (small.curve(f"model.shared_prompts={on}", *CUTS[cut], trees=trees) for on in (True, False))
  small.assert_same_curve(shared, alone)


def test_a_rollout_says_which_rows_share_a_prompt():
  experiment = small.make_experiment("num_seeds=1")
  _, made = jax.eval_shape(lambda seed: iteration.make_batch(experiment, seed, 0), small.make_seed(experiment))
  assert made.trajectories.trees == small.groups(made.trajectories)
  assert made.trajectories.trees[0].size == experiment.config.completions_per_prompt == 4


def test_rows_that_are_picked_share_nothing():
  experiment = small.make_experiment("num_seeds=1")
  rows = small.make_trajectories(experiment, small.make_seed(experiment))
  assert rows.replace(trees=small.groups(rows)).rows(np.array([3, 1, 2])).trees == ()


@pytest.mark.parametrize(
  ("sizes", "held"),
  [
    (Sizes(1, 1, group=4), True),
    (Sizes(2, 2, group=4), True),
    (Sizes(1, 1, group=4, rows_per_microbatch=8), True),
    (Sizes(1, 1, group=4, shards=4), True),
    (Sizes(1, 1, group=None, rows_per_microbatch=4), True),  # nothing is shuffled
    (Sizes(1, 2, group=None), False),  # single rows are
    (Sizes(1, 1, group=None, rows_per_microbatch=2), False),  # a micro-batch has half a block
    (Sizes(1, 1, group=4, shards=8), False),  # and so has a shard
    (Sizes(1, 2, group=8), False),  # groups of other blocks
  ],
)
def test_blocks_are_held_where_rows_are_not_split(sizes, held):
  assert sizes.holds(16, 4) == held


def test_an_update_of_split_blocks_runs_rows_alone(monkeypatch):
  experiment = small.make_experiment("num_seeds=1", "minibatches_per_epoch=2", "minibatches_of=rows")
  seen = []
  model = experiment.models["policy"]
  outputs = type(model).outputs
  note = lambda self, params, batch: (seen.append(batch.trees), outputs(self, params, batch))[1]
  monkeypatch.setattr(type(model), "outputs", note)
  seed = small.make_seed(experiment)
  jax.eval_shape(lambda seed: iteration.step(experiment, seed, 0), seed)
  assert seen and set(seen) == {()}
  assert objectives.update_of_method(experiment)
