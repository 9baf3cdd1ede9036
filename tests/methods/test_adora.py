"""ADORA: weights of groups by hand and on the paper's code, what is left of GRPO, and two iterations."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.methods import adora, grpo
from rl_jax.methods.method import check_options
from tests.methods.batches import RESPONSE_TOKENS, TASK, batch_of, config_of
from tests.methods.two_iterations import assert_whole, two_iterations

EXACT = {"ddof": 0, "epsilon": 0.0}
"""Two answers, one of them right, have the advantages 1 and -1."""


def batch(lengths, rewards, group_ids, **fields):
  mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
  return batch_of(mask, rewards=np.array(rewards, np.float32), group_ids=group_ids, **fields)


def two_groups(**fields):
  """The right answer is the longer one in group 7, the shorter one in group 3."""
  return batch([5, 4, 2, 5], [1.0, 0.0, 1.0, 0.0], [7, 7, 3, 3], **fields)


def signal_of(trajectories, module=adora, **options):
  return module.build(config_of(module, **options), TASK).signal(trajectories, jnp.int32(0))


def advantages(trajectories, **options):
  """One of each row, after a look at where they are."""
  stream = signal_of(trajectories, **options).streams["policy"]
  assert not np.asarray(stream.targets)[~np.asarray(trajectories.loss_mask)].any()
  return stream.targets[:, 0]


@pytest.mark.parametrize(
  ("options", "expected"),
  [
    ({}, [1, -1, 0.1, -0.1]),
    ({"variant": "paper_vlm", "attenuated": 0.25}, [1, -1, 0.25, -0.25]),
    ({"variant": "paper_llm"}, [2, -2, 1, -1]),
    ({"variant": "paper_llm", "combine": "length", "success_threshold": 0.0}, [2, -2, 1, -1]),
    ({"variant": "paper_llm", "combine": "difficulty"}, [2, -2, 2, -2]),
    ({"variant": "paper_llm", "combine": "or", "amplified": 3.0}, [3, -3, 3, -3]),
    ({"variant": "paper_llm", "success_threshold": 0.49}, [1, -1, 1, -1]),
    ({"length_cap": 5, "attenuated": 0.5}, [1, -1, 1, -1]),  # the wrong answer of group 3 was cut: none is left
    ({"correct_threshold": 1.0}, [0.1, -0.1, 0.1, -0.1]),  # no answer is right
  ],
)
def test_weights_by_hand(options, expected):
  np.testing.assert_allclose(advantages(two_groups(), **EXACT, **options), expected, rtol=1e-6)


def test_the_worked_example():
  trajectories = batch([6, 4, 5, 3, 2, 7, 8, 6], [3, -0.5, -0.5, 3, 3, -0.5, -3, -0.5], [0] * 4 + [1] * 4)
  expected = [0.866025, -0.866025, -0.866025, 0.866025, 0.131769, -0.010136, -0.111497, -0.010136]
  options = {"correct_threshold": 1.01, "length_cap": 8}
  np.testing.assert_allclose(advantages(trajectories, **options), expected, atol=1e-6)
  np.testing.assert_allclose(signal_of(trajectories, **options).metrics["group_weight"].value, 0.55, rtol=1e-6)


@pytest.mark.parametrize("options", [{"attenuated": 1.0}, {"variant": "paper_llm", "amplified": 1.0}])
@pytest.mark.parametrize("scale", ["group", "none"])
def test_with_weight_one_it_is_grpo(options, scale):
  plain = signal_of(two_groups(), grpo, scale=scale).streams["policy"]
  weighted = signal_of(two_groups(), scale=scale, **options).streams["policy"]
  np.testing.assert_array_equal(weighted.targets, plain.targets)
  np.testing.assert_array_equal(weighted.weights, plain.weights)
  assert np.asarray(plain.targets).any()


def test_the_weight_does_not_cancel_without_the_division():
  np.testing.assert_allclose(advantages(two_groups(), scale="none"), [0.5, -0.5, 0.05, -0.05], rtol=1e-6)


@pytest.mark.parametrize("variant", adora.VARIANTS)
def test_groups_of_equal_rewards_have_no_advantage(variant):
  assert not np.asarray(advantages(batch([5, 4, 2, 5], [1, 1, 0, 0], [7, 7, 3, 3]), variant=variant)).any()


def test_the_cap_is_the_response_limit_of_the_task():
  """The wrong answers fill all slots: they were cut, and the right one is no shorter than those that were not."""
  trajectories = batch([2, RESPONSE_TOKENS, 2, RESPONSE_TOKENS - 1], [1, 0, 1, 0], [7, 7, 3, 3])
  np.testing.assert_allclose(advantages(trajectories, **EXACT), [1, -1, 0.1, -0.1], rtol=1e-6)


def test_unscored_rows_are_as_if_they_were_not_there():
  """Without the long right answer of group 7 a shorter one is left, and thinking does not pay."""
  rows = [3, 5, 4], [1.0, 1.0, 0.0]
  with_all = batch(*rows, [7, 7, 7])
  unscored = batch(rows[0], [1.0, np.nan, 0.0], [7, 7, 7], reward_mask=np.array([True, False, True]))
  np.testing.assert_allclose(advantages(with_all, **EXACT), [0.5**0.5, 0.5**0.5, -(2**0.5)], rtol=1e-6)
  np.testing.assert_allclose(advantages(unscored, **EXACT), [0.1, 0, -0.1], rtol=1e-6)
  metrics = signal_of(unscored, **EXACT).metrics
  np.testing.assert_allclose(metrics["group_weight"].value, 0.1, rtol=1e-6)
  assert metrics["group_weight"].weight == 2


@pytest.mark.parametrize(
  ("options", "said"),
  [
    ({"variant": "code_vlm"}, "method.variant is one of code_llm, "),
    ({"combine": "xor"}, "method.combine is one of and"),
  ],
)
def test_an_option_that_is_not_known_is_one_line(options, said):
  with pytest.raises(ValueError, match=said) as error:
    adora.build(config_of(adora, **options), TASK)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("options", [{"attenuated": -0.1}, {"success_threshold": 1.5}, {"length_cap": 0}])
def test_a_number_that_makes_no_sense_is_one_line(options):
  with pytest.raises(UserError, match=f"method.{next(iter(options))}: want .*, got") as error:
    check_options(config_of(adora, **options), adora)
  assert "\n" not in str(error.value)


def test_two_iterations_weigh_groups():
  done = two_iterations("adora", "method.length_cap=100")  # answers that were cut count as well: most are
  assert_whole(done)
  weights = np.array([metrics["group_weight"] for metrics in done.metrics])
  # The mean over two groups of four, each 1 or 0.1.
  assert np.isclose(weights[..., None], [0.1, 0.55, 1.0], rtol=1e-5).any(axis=-1).all() and (weights < 1).any()
