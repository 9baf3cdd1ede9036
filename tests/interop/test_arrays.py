"""Kernels on NumPy arrays, and the pages that show them."""

from __future__ import annotations

import asyncio
import functools
import re
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.interop.arrays import group_estimator, on_numpy, with_gradient
from rl_jax.kernels.advantages import dr_grpo, grpo, opo, rloo
from rl_jax.kernels.losses import policy_gradient
from rl_jax.kernels.reductions import aggregate

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page):
  """The Python blocks of a page."""
  return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.M | re.S)


class Tensor:
  """A stand-in for a torch tensor: NumPy reads it, and knows none of its methods."""

  def __init__(self, values, on_cpu=True):
    self.values, self.on_cpu = np.asarray(values), on_cpu

  def __array__(self, dtype=None, copy=None):
    if not self.on_cpu:
      raise TypeError("can't convert cuda:0 device type tensor to numpy")
    return self.values


def test_hand_computed_values_and_types():
  result = on_numpy(dr_grpo)([3.0, 1.0, 5.0], [7, 7, 9], [True, True, True])
  np.testing.assert_array_equal(result, [1.0, -1.0, 5.0])
  assert type(result) is np.ndarray and result.dtype == np.float32 and result.flags.writeable


def test_tensors_lists_and_double_precision_are_read():
  expected = grpo(jnp.array([1.0, 0.0, 0.5]), jnp.array([0, 0, 1]), jnp.ones(3, bool), eps=1e-4)
  estimate = on_numpy(grpo, eps=1e-4)
  for read in (np.array, list, Tensor):
    values = read([1.0, 0.0, 0.5]), read([4, 4, 2]), read([True, True, True])
    np.testing.assert_array_equal(estimate(*values), expected)
  args = {"mask": [1, 1, 1], "group_ids": [4, 4, 2], "rewards": [1.0, 0.0, 0.5]}
  np.testing.assert_array_equal(estimate(**args), expected)
  np.testing.assert_array_equal(estimate([1.0, 0.0, 0.5], mask=[1, 1, 1], group_ids=[4, 4, 2]), expected)


def test_groups_may_have_any_labels():
  rewards, mask = [3.0, 1.0, 5.0, 7.0], [True] * 4
  estimate = on_numpy(dr_grpo)
  expected = estimate(rewards, [0, 0, 1, 1], mask)
  for labels in (["a", "a", "b", "b"], [2**40, 2**40, 2**40 + 1, 2**40 + 1], np.array([-1, -1, 0, 0])):
    np.testing.assert_array_equal(estimate(rewards, labels, mask), expected)


def test_tuples_keep_their_names():
  result = on_numpy(policy_gradient, clip_high=0.28)(*np.zeros((2, 1, 2)), np.ones((1, 2)), np.ones((1, 2)))
  assert type(result).__name__ == "PolicyLoss" and all(type(part) is np.ndarray for part in result)


def dapo(logprobs, old, advantages, mask, high):
  losses = policy_gradient(logprobs, old, advantages, mask, clip_high=high).losses
  return aggregate(losses, mask, mode="token_mean").value


def test_the_gradient_is_that_of_the_loss():
  random = np.random.default_rng(0)
  logprobs, old, advantages = random.normal(size=(3, 2, 5)).astype(np.float32)
  mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
  value, gradient = with_gradient(dapo, high=0.28)(logprobs, old, advantages, mask)
  expected = jax.value_and_grad(dapo)(*map(jnp.asarray, (logprobs, old, advantages, mask)), high=0.28)
  np.testing.assert_allclose(value, expected[0], rtol=1e-6)
  np.testing.assert_allclose(gradient, expected[1], rtol=1e-6)
  assert (gradient[~mask] == 0).all() and gradient.any()


def test_a_group_estimator_reads_the_layout_of_trainers():
  rewards = np.array([1.0, 0.0, 0.5, 0.5, 2.0, np.nan])
  result = group_estimator(rloo)(rewards=rewards, num_generations=2)
  np.testing.assert_array_equal(result, [1.0, -1.0, 0.0, 0.0, 2.0, 0.0])  # a row alone: its reward, baseline 0
  masked = group_estimator(rloo)(np.nan_to_num(rewards), 2, valid_mask=[1, 1, 1, 1, 1, 0])
  np.testing.assert_array_equal(masked, result)
  np.testing.assert_array_equal(group_estimator(rloo, device=None)(rewards, 2), result)


def test_a_reward_that_the_mask_leaves_out_may_be_infinite():
  masked = group_estimator(rloo)([np.inf, 1.0, 0.0], 3, valid_mask=[False, True, True])
  np.testing.assert_array_equal(masked, [0.0, 1.0, -1.0])


def test_the_gradient_is_of_the_first_array_by_position_and_by_name():
  loss = with_gradient(lambda logprobs, weights: (logprobs * weights).sum())
  for value, gradient in (loss([1.0, 2.0], [3.0, 4.0]), loss(weights=[3.0, 4.0], logprobs=[1.0, 2.0])):
    assert value == 11.0
    np.testing.assert_array_equal(gradient, [3.0, 4.0])


def test_options_may_be_fixed_by_partial():
  kernel = functools.partial(grpo, eps=1e-4)
  np.testing.assert_array_equal(group_estimator(kernel)([1.0, 0.0], 2), group_estimator(grpo, eps=1e-4)([1.0, 0.0], 2))


@pytest.mark.parametrize(
  ("call", "said"),
  [
    (lambda: group_estimator(rloo)([1.0, 0.0, 1.0], 2), r"rloo: expected rewards \[prompts \* 2\], .* got \(3,\)"),
    (lambda: group_estimator(rloo)([[1.0], [0.0]], 2), r"got \(2, 1\)"),
    (
      lambda: on_numpy(dr_grpo)(Tensor([1.0], on_cpu=False), [0], [1]),
      "NumPy cannot read rewards as an array .*cuda.*move it to the CPU",
    ),
    (lambda: on_numpy(dr_grpo)(["x"], [0], [1]), "rewards has type <U1, expected numbers"),
    (lambda: on_numpy(opo)([1.0], [0], [2**40], [1]), "lengths has integers beyond 32 bits"),
    (lambda: on_numpy(opo)([1e39], [0], [1], [1]), "rewards has numbers beyond float32"),
    (lambda: on_numpy(opo)([[1.0], [1.0, 2.0]], [0], [1], [1]), "rewards as an array .*: pad its rows to one length"),
    (lambda: on_numpy(dr_grpo)([1.0, 2.0], [["a"], ["a", "b"]], [1, 1]), "group_ids as an array .*: pad its rows"),
    (lambda: on_numpy(dr_grpo)([1.0, 2.0], ["a", None], [1, 1]), "group_ids has type object or NaN"),
    (lambda: on_numpy(dr_grpo)([1.0, 2.0], [np.nan, 1.0], [1, 1]), "group_ids has type float64 or NaN"),
    (lambda: group_estimator(rloo)([np.inf, 0.0], 2), "rloo: a reward is infinite"),
    (lambda: group_estimator(rloo)([1.0, 0.0], "2"), "got num_generations='2', expected a whole number"),
    (lambda: group_estimator(rloo)([1.0, 0.0], 2.0), "got num_generations=2.0, expected a whole number"),
    (lambda: group_estimator(rloo)([1.0, 0.0], 2, [True]), r"expected valid_mask \(2,\) .* got \(1,\)"),
    (lambda: group_estimator(rloo)([1.0, 0.0], 2, [1.0, np.nan]), "valid_mask .* or NaN"),
    (lambda: group_estimator(rloo)([1.0, 0.0], 2, ["a", ""]), "valid_mask has type <U1, expected numbers"),
  ],
)
def test_errors_are_one_line(call, said):
  with pytest.raises(ValueError, match=said) as raised:
    call()
  assert "\n" not in str(raised.value)


def test_the_page_on_torch_trainers_runs(capsys, monkeypatch):
  trl = types.SimpleNamespace(GRPOTrainer=type("GRPOTrainer", (), dict.fromkeys(
    ("_calculate_rewards", "_generate_and_score_completions"), lambda self: None
  )))  # fmt: skip
  assigned = {}
  prime = "prime_rl.orchestrator.algo"
  base = types.SimpleNamespace(Algorithm=object, iter_trainable_traces=lambda episodes: ((e, e) for e in episodes))
  routing = types.SimpleNamespace(assign_advantages=lambda trace, advantage: assigned.update({trace.name: advantage}))
  for name, module in {"trl": trl, f"{prime}.base": base, f"{prime}.routing": routing}.items():
    monkeypatch.setitem(sys.modules, name, module)
  for parent in ("prime_rl", "prime_rl.orchestrator", prime):
    monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
  estimators, loss, trainer, algorithm = blocks("torch_trainers.md")
  exec(compile(estimators, "estimators", "exec"), {})
  assert capsys.readouterr().out == "[ 3.  -1.  -1.  -1.   0.5  0.5  0.  -1. ]\n[ 0.77 -0.23  1.  ]\n"
  exec(compile(loss, "loss", "exec"), {})
  # Both rows have the ratio e^0.1 = 1.105, within the bounds: the mean of -1.105 and 1.105, over two rows of three.
  assert [abs(float(x)) for x in re.findall(r"-?\d+\.\d*", capsys.readouterr().out)] == [0.0, 0.184, 0.184]
  names = {}
  exec(compile(trainer, "trainer", "exec"), names)
  assert issubclass(names["Trainer"], trl.GRPOTrainer)
  exec(compile(algorithm, "algorithm", "exec"), names)
  traces = [types.SimpleNamespace(name=i, reward=reward) for i, reward in enumerate([1.0, 0.0, 0.0, 0.0])]
  asyncio.run(names["PassAtK"]().score_group(traces))
  assert assigned == {0: 1.0, 1: 0.0, 2: 0.0, 3: 0.0}
  asyncio.run(names["PassAtK"]().score_group([]))
