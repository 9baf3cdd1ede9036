"""A-GRAE: the spec's worked example, its controls, what remains of the base without them, and two iterations."""

from __future__ import annotations

import json

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.methods import a_grae, dr_grpo, grpo
from rl_jax.methods.method import check_options
from tests.kernels import goldens
from tests.methods.batches import TASK, batch_of, config_of
from tests.methods.two_iterations import assert_whole, two_iterations

REWARDS = np.float32([1, 0, 0, 0, 1, 1, 1, 0])
IDS = np.int32([5] * 4 + [2] * 4)
RNG = np.random.default_rng(0)
OUTPUTS = {"policy": {"logprobs": RNG.normal(size=(8, 3)).astype(np.float32), "entropies": np.ones((8, 3), np.float32)}}


def batch(**fields):
  mask = np.arange(3) < np.array([3, 2, 1, 3, 2, 2, 3, 1])[:, None]
  return batch_of(mask, **{"rewards": REWARDS, "group_ids": IDS} | fields)


def built(module=a_grae, **options):
  return module.build(config_of(module, rows=8, **options), TASK)


def signal_of(trajectories, module=a_grae, **options):
  return built(module, **options).signal(trajectories, jnp.int32(0))


def advantages_of(trajectories, **options):
  return np.asarray(signal_of(trajectories, **options).streams["policy"].targets)[:, 0]


def loss_of(module, trajectories, **options):
  method = built(module, **options)
  terms = method.loss(OUTPUTS, trajectories, method.signal(trajectories, jnp.int32(0)).streams).terms
  return sum(float(term.coefficient * term.mean.value) for term in terms.values())


# Hand-computed.


@pytest.mark.parametrize(
  ("form", "wanted"),
  [
    ("paper", [0.591505, *[-0.394337] * 3, *[0.197168] * 3, -1.183010]),
    ("code", [0.749997, *[-0.499998] * 3, *[0.538670] * 3, -3.232023]),
    ("base", [1.499997, *[-0.499999] * 3, *[0.499999] * 3, -1.499997]),
  ],
)
def test_the_worked_example_of_the_spec(form, wanted):
  stream, metrics = signal_of(batch(), form=form)
  np.testing.assert_allclose(stream["policy"].targets[:, 0], wanted, rtol=2e-6)
  np.testing.assert_array_equal(stream["policy"].weights, batch().loss_mask)
  np.testing.assert_allclose(metrics["success_rate"].value, 0.5)
  np.testing.assert_allclose(metrics["mean_advantage"].value, np.mean(wanted), atol=1e-6)


def test_its_equations_and_controls_by_hand():
  """p is 1/4 and 3/4, omega 1/2, and A without a division by the std: 3/4 and -1/4, 1/4 and -3/4."""
  free = np.array([3 / 4, *[-1 / 4] * 3, *[1 / 4] * 3, -3 / 4])
  hard, easy = np.repeat([2, 2 / 3**0.5], 4), np.repeat([2 / 3**0.5, 2], 4)
  of = lambda form, **options: advantages_of(batch(), base="dr_grpo", form=form, **options)
  np.testing.assert_allclose(of("sample"), free * (hard + easy) / 4, rtol=1e-6)
  np.testing.assert_allclose(of("group"), np.where(free > 0, free / 2, free), rtol=1e-6)
  np.testing.assert_allclose(of("group", alpha=0.8), np.where(free > 0, free * 0.5 / 0.8, free), rtol=1e-6)
  np.testing.assert_allclose(of("paper", alpha=0.5), of("sample"), rtol=1e-6)
  np.testing.assert_allclose(of("positive_dominant"), np.where(free > 0, 10 * free, free), rtol=1e-6)
  np.testing.assert_allclose(of("negative_dominant", beta=4.0), np.where(free > 0, free / 4, free), rtol=1e-6)
  np.testing.assert_allclose(of("hard_focused"), free * hard / 2, rtol=1e-6)
  np.testing.assert_allclose(of("easy_focused", gamma=1.0), free * easy, rtol=1e-6)


GOLDEN = json.loads((goldens.FOLDER / "a_grae.json").read_text())
CASES = [case for case in GOLDEN if "advantages_code" in case["outputs"]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_form_of_the_code_has_the_reference_numbers(case):
  inputs, wanted = case["inputs"], case["outputs"]["advantages_code"]
  rewards, ids = np.float32(inputs["rewards"]), np.int32(inputs["group_ids"])
  rows = batch_of(np.ones((rewards.size, 1), bool), rewards=rewards, group_ids=ids)
  found = advantages_of(rows, form="code", ddof=inputs["ddof"], epsilon=inputs["eps"], alpha=inputs["alpha"])
  np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


# Reductions.


@pytest.mark.parametrize(
  ("base", "module", "options"),
  [
    ("grpo", grpo, {"kl_coefficient": 0.0, "aggregation": "token_mean"}),
    ("dr_grpo", dr_grpo, {}),
    ("dapo", grpo, {"kl_coefficient": 0.0, "aggregation": "token_mean", "clip_low": 0.2, "clip_high": 0.28}),
  ],
)
def test_without_rescaling_it_is_its_base(base, module, options):
  trajectories = batch(old_logprobs=OUTPUTS["policy"]["logprobs"] + RNG.normal(size=(8, 3)).astype(np.float32) / 4)
  np.testing.assert_allclose(
    loss_of(a_grae, trajectories, base=base, form="base"),
    loss_of(module, trajectories, dual_clip=3.0, **options),
    rtol=1e-6,
  )


def test_the_loss_of_a_base_can_be_overridden():
  trajectories = batch()
  mean, constant = (
    loss_of(a_grae, trajectories, base="dr_grpo", **options) for options in ({"aggregation": "token_mean"}, {})
  )
  assert abs(mean - constant) > 1e-3


# Invariants.


@pytest.mark.parametrize("form", ["paper", "sample", "group", "code"])
def test_signs_are_those_of_the_base(form):
  rewards = (RNG.uniform(size=24) < 0.4).astype(np.float32)
  rows = batch_of(np.ones((24, 1), bool), rewards=rewards, group_ids=np.repeat(np.arange(6), 4))
  np.testing.assert_array_equal(np.sign(advantages_of(rows, form=form)), np.sign(advantages_of(rows, form="base")))


def test_few_successes_leave_a_negative_sum_and_many_do_not():
  rare = signal_of(batch(), form="group", base="dr_grpo").metrics["mean_advantage"].value
  often = signal_of(batch(), form="group", base="dr_grpo", alpha=0.5).metrics["mean_advantage"].value
  assert rare < -0.05 and abs(often) < 1e-6


# Edge cases.


@pytest.mark.parametrize("form", ["paper", "code", "hard_focused", "positive_dominant"])
@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_groups_of_equal_rewards_have_no_advantage(form, reward):
  assert not advantages_of(batch(rewards=np.full(8, reward, np.float32)), form=form).any()


@pytest.mark.parametrize("form", ["paper", "code", "easy_focused"])
def test_unscored_rows_count_for_nothing(form):
  scored = np.arange(8) != 3
  stream, metrics = signal_of(batch(rewards=np.where(scored, REWARDS, np.nan), reward_mask=scored), form=form)
  alone, its_metrics = signal_of(batch(row_mask=scored), form=form)
  np.testing.assert_allclose(stream["policy"].targets, alone["policy"].targets)
  assert not stream["policy"].weights[3].any() and np.isfinite(stream["policy"].targets).all()
  np.testing.assert_allclose(metrics["success_rate"].value, 4 / 7, rtol=1e-6)
  np.testing.assert_allclose(its_metrics["success_rate"].value, 4 / 7, rtol=1e-6)


@pytest.mark.parametrize("form", ["paper", "code"])
def test_a_group_of_one_has_no_advantage(form):
  scored = np.array([True] * 4 + [True] + [False] * 3)
  assert not advantages_of(batch(reward_mask=scored), form=form)[4:].any()


def test_success_is_correctness_where_rewards_have_other_terms():
  """Rewards of 0.9 and -0.1 for right and wrong answers: p and omega are those of the answers, A is the same."""
  rows = batch(rewards=REWARDS - np.float32(0.1), extras={"correct": REWARDS > 0})
  np.testing.assert_allclose(advantages_of(rows), advantages_of(batch()), rtol=1e-5)


@pytest.mark.parametrize(
  ("option", "value", "message"),
  [
    ("form", "none", "method.form is one of paper, sample, .*, base, got 'none'"),
    ("base", "rloo", "method.base is one of grpo, dr_grpo, dapo, got 'rloo'"),
  ],
)
def test_options_that_are_not_known_are_refused(option, value, message):
  with pytest.raises(ValueError, match=message):
    built(**{option: value})


@pytest.mark.parametrize(("option", "value"), [("alpha", 0.0), ("alpha", 2.0), ("beta", 0.0), ("gamma", -1.0)])
def test_numbers_out_of_range_are_refused(option, value):
  with pytest.raises(UserError, match=f"method.{option}: want a finite number"):
    check_options(config_of(a_grae, **{option: value}), a_grae)


def test_two_iterations():
  done = two_iterations("a_grae")
  assert_whole(done)
  for metrics in done.metrics:
    assert ((metrics["success_rate"] > 0) & (metrics["success_rate"] < 1)).all()
    assert (metrics["mean_advantage"] < 0).all()
