"""The members of a run: seeds, learning rates and starts side by side in one program."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.training import experiment, state
from rl_jax.training.seeds import member_scales, member_seeds
from rl_jax.training.update import _order
from tests.methods.two_iterations import two_iterations
from tests.training import small

RATES = ("learning_rates=(0.001,0.01)", "learning_rate=0.001", "num_seeds=4", "seed=5")


def params_of(done):
  return jax.device_get(done.trainer.state.seeds.models["policy"].params)


def test_members_by_hand():
  config = small.make_config(*RATES)
  np.testing.assert_array_equal(member_seeds(config), [5, 5, 6, 6])
  np.testing.assert_allclose(member_scales(config), [1, 10, 1, 10], rtol=1e-6)


def test_a_member_is_the_run_of_its_rate_alone():
  together = two_iterations("grpo", *RATES, "optimizer.weight_decay=0.1")
  alone = two_iterations("grpo", "learning_rate=0.01", "num_seeds=2", "seed=5", "optimizer.weight_decay=0.1")
  for seed in range(2):
    member = jax.tree.map(lambda x, i=2 * seed + 1: x[i], params_of(together))
    other = jax.tree.map(lambda x, i=seed: x[i], params_of(alone))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6), member, other)
  rate = lambda done, column: [metrics["learning_rate"][column] for metrics in done.metrics]
  np.testing.assert_allclose(rate(together, 1), rate(alone, 0), rtol=1e-6)
  before = jax.tree.leaves(together.before.seeds.models["policy"].params)
  moved = [np.abs(np.asarray(a) - b).max(axis=tuple(range(1, b.ndim))) for a, b in
           zip(jax.tree.leaves(params_of(together)), before, strict=True)]  # fmt: skip
  assert all((m[1] > 2 * m[0]) and (m[0] > 0) for m in moved)  # a member with ten times the rate moves further


def test_one_rate_leaves_the_optimiser_as_it_was():
  plain = small.make_experiment()
  shapes = jax.eval_shape(lambda: state.init_seed(plain, 0, None)).models["policy"].optimizer
  paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(shapes)]
  assert paths and not any("member_scale" in path for path in paths)


@pytest.mark.parametrize("values, taken", [((1.0, 2.0), [1, 1, 2, 2]), ((1.0, 2.0, 3.0, 4.0), [1, 2, 3, 4])])
def test_starts_are_taken_in_turn_or_by_each_member(values, taken):
  built = small.make_experiment(*RATES)
  policy = jax.eval_shape(lambda: state.init_seed(built, 0, None)).models["policy"].params
  starts = jax.tree.map(lambda x: jnp.stack([jnp.full(x.shape, v, x.dtype) for v in values]), nn.meta.unbox(policy))
  params = state.init(built, {"policy": starts}).seeds.models["policy"].params
  for leaf in jax.tree.leaves(params):
    np.testing.assert_array_equal(leaf.reshape(4, -1)[:, 0], taken)


def test_minibatches_of_groups_hold_all_rows_of_a_prompt():
  groups = jnp.asarray([7, -3, 7, 40, -3, 2, 40, 2])
  steps = np.asarray(groups)[np.asarray(_order(jax.random.key(0), 8, 3, 2, groups))]
  assert steps.shape == (6, 4)
  for step in steps:
    assert len(set(step)) == 2 and all((step == group).sum() == 2 for group in set(step))
  assert len({tuple(sorted(set(step))) for step in steps[::2]}) > 1  # shuffled anew in every epoch


def test_minibatches_of_rows_are_what_they_were():
  key = jax.random.key(3)
  want = jax.random.permutation(jax.random.fold_in(key, 0), 8).reshape(2, 4)
  np.testing.assert_array_equal(_order(key, 8, 1, 2), want)


@pytest.mark.parametrize(
  "overrides, message",
  [
    (("learning_rates=(0.1,0.2)", "num_seeds=3"), "num_seeds=3 counts each seed once for each of the 2 learning_rates"),
    (("learning_rates=(0.1,-0.2)", "num_seeds=2"), "learning_rates[1]: want a finite number above 0, got -0.2"),
    (("learning_rates=(0.1,)", "learning_rate=0.0"), "learning_rate=0.0: it is what learning_rates are multiples of"),
    (("minibatches_of=prompts",), "minibatches_of is one of rows, groups, got 'prompts'"),
  ],
)
def test_fields_that_make_no_sense_are_one_clear_line(overrides, message):
  with pytest.raises(UserError) as error:
    experiment.check(small.make_config(*overrides))
  assert message in str(error.value)
