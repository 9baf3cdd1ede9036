"""COPO: the spec's worked example, the loss against its kernel, reductions to GRPO, and two iterations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.kernels.losses.blended import copo_loss
from rl_jax.kernels.reductions import aggregate
from rl_jax.methods import copo, grpo
from rl_jax.methods.method import check_options
from tests.methods.batches import TASK, batch_of, config_of
from tests.methods.two_iterations import assert_whole, two_iterations

# Three prompts of four responses: mixed, all right, all wrong.
REWARDS = np.float32([1, 0, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0])
ANSWERS = np.int32([7, 3, 7, 5, 2, 2, 2, 2, 1, 1, 1, 4])
IDS = np.repeat([9, -4, 30], 4)
MASK = np.arange(4) < np.tile([3, 2, 4, 1], 3)[:, None]
SOFT = np.repeat([0.924142, 0.006693, 0.280172], 4)
LOCAL = np.array([1, -1, 1, -1, *[0] * 8]) * 0.866024
GLOBAL = np.repeat([0, 0.999998, -0.999998], 4)
SCRIPT = {"gamma": 5.0, "rho": 1.0}
RNG = np.random.default_rng(0)
LOGPROBS = RNG.normal(-1, 0.5, (12, 4)).astype(np.float32)
OLD = LOGPROBS + RNG.normal(0, 0.7, (12, 4)).astype(np.float32)


def batch(rewards=REWARDS, answers=ANSWERS, **fields):
  given = {"rewards": rewards, "group_ids": IDS, "old_logprobs": OLD, "extras": {"answer_ids": answers}}
  return batch_of(MASK, **given | fields)


def built(module=copo, **options):
  return module.build(config_of(module, rows=12, **options), TASK)


def signal_of(trajectories, **options):
  return built(**options).signal(trajectories, jnp.int32(0))


def parts_of(trajectories, **options):
  """(W A, (1 - W) A^g) of each row."""
  streams = signal_of(trajectories, **options).streams
  return tuple(np.asarray(streams[name].targets)[:, 0] for name in ("local", "global"))


def loss_and_gradient(method, trajectories):
  streams = method.signal(trajectories, jnp.int32(0)).streams

  def total(logprobs):
    outputs = {"policy": {"logprobs": logprobs, "entropies": jnp.ones((12, 4))}}
    terms = method.loss(outputs, trajectories, streams).terms
    return sum(term.coefficient * term.mean.value for term in terms.values())

  return jax.value_and_grad(total)(jnp.asarray(LOGPROBS))


# Hand-computed.

WEIGHTS = {
  "no global": np.ones(12),
  "only global": np.zeros(12),
  "only soft": SOFT,
  "only forced": LOCAL != 0,
  "soft with forced": SOFT * (LOCAL != 0),
  "only zero": REWARDS,
  "soft with zero": SOFT * REWARDS,
  "soft with zero group": SOFT * np.repeat([1, 1, 0], 4),
}


@pytest.mark.parametrize("blend", WEIGHTS)
def test_the_worked_example_of_the_spec(blend):
  local, between = parts_of(batch(), blend=blend, **SCRIPT)
  np.testing.assert_allclose(local, WEIGHTS[blend] * LOCAL, atol=2e-6)
  np.testing.assert_allclose(between, (1 - WEIGHTS[blend]) * GLOBAL, atol=2e-6)
  streams, metrics = signal_of(batch(), blend=blend, **SCRIPT)
  np.testing.assert_allclose(streams["policy"].targets[:, 0], local + between, atol=1e-6)
  np.testing.assert_array_equal(streams["policy"].weights, MASK)
  np.testing.assert_allclose(metrics["answer_entropy"].value, (1.5 + 0.811278) / 3, rtol=1e-6)
  np.testing.assert_allclose(metrics["local_weight"].value, WEIGHTS[blend].mean(), atol=1e-6)
  np.testing.assert_allclose(metrics["no_gradient"].value, np.mean((local == 0) & (between == 0)), atol=1e-6)


def test_a_consistent_prompt_is_worth_more():
  """R is 0.21875 of a half, as lambda is 3/8 and H 1.5; then 1 and 0."""
  rewards = np.array([0.21875, 1, 0])
  wanted = np.repeat((rewards - rewards.mean()) / rewards.std(ddof=1), 4)
  _, between = parts_of(batch(), blend="only global", prompt_reward="consistent")
  np.testing.assert_allclose(between, wanted, atol=1e-5)


@pytest.mark.parametrize("blend", WEIGHTS)
def test_the_loss_and_its_gradient_are_those_of_blended_losses(blend):
  """Ratios are far outside of the clip range, where a blend of advantages is another thing."""
  trajectories = batch()
  value, gradient = loss_and_gradient(built(blend=blend, **SCRIPT), trajectories)
  weights, advantages = np.float32(WEIGHTS[blend]), [np.where(MASK, x[:, None], 0) for x in (LOCAL, GLOBAL)]

  def paper(logprobs):
    losses = copo_loss(logprobs, OLD, *map(jnp.float32, advantages), jnp.asarray(weights), jnp.asarray(MASK)).losses
    return aggregate(losses, jnp.asarray(MASK), mode="sequence_mean_token_mean").value

  wanted = jax.value_and_grad(paper)(jnp.asarray(LOGPROBS))
  np.testing.assert_allclose(value, wanted[0], rtol=1e-4)
  np.testing.assert_allclose(gradient, wanted[1], atol=1e-6)


# Reductions.


def test_without_the_global_loss_it_is_grpo():
  options = {"kl_coefficient": 0.0, "dual_clip": 3.0}
  one, other = (
    loss_and_gradient(built(module, **options, **extra), batch())
    for module, extra in ((copo, {"blend": "no global"}), (grpo, {}))
  )
  for left, right in zip(one, other, strict=True):
    np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-7)


def test_the_family_s_terms_are_there_once():
  trajectories = batch(ref_logprobs=OLD + 0.3)
  with_kl, without = (loss_and_gradient(built(kl_coefficient=c, kl_value="k1"), trajectories)[0] for c in (0.5, 0.0))
  per_row = np.where(MASK, LOGPROBS - OLD - 0.3, 0).sum(axis=1) / MASK.sum(axis=1)
  np.testing.assert_allclose(with_kl - without, 0.5 * per_row.mean(), rtol=1e-4)


# Invariants.


def test_agreeing_answers_leave_the_global_loss_and_scattered_ones_the_local():
  agree, differ = batch(answers=np.repeat([1, 2, 3], 4)), batch(answers=np.tile(np.arange(4), 3))
  assert signal_of(agree, blend="only soft").metrics["local_weight"].value < 1e-6
  assert signal_of(differ, blend="only soft").metrics["local_weight"].value > 0.99


def test_where_grpo_is_silent_copo_is_not():
  """Two of three groups are all right or all wrong."""
  silent = lambda **options: float(signal_of(batch(), **options).metrics["no_gradient"].value)
  assert silent(blend="no global") == pytest.approx(2 / 3) and silent() == 0


# Edge cases.


def test_groups_of_equal_rewards_have_no_gradient():
  local, between = parts_of(batch(rewards=np.ones(12, np.float32)))
  assert not local.any() and not between.any()


def test_one_prompt_in_the_batch_has_no_global_advantage():
  local, between = parts_of(batch(row_mask=IDS == 9), blend="only soft", **SCRIPT)
  np.testing.assert_allclose(local[:4], SOFT[:4] * LOCAL[:4], atol=1e-6)
  assert not between.any()


def test_responses_without_an_answer_agree_with_each_other():
  """Two of four have none: as the pair with one answer, a half, and a quarter each of two others."""
  answers = np.where(ANSWERS == 7, -1, ANSWERS)
  for one, other in zip(parts_of(batch(answers=answers), **SCRIPT), parts_of(batch(), **SCRIPT), strict=True):
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("blend", WEIGHTS)
def test_unscored_rows_count_for_nothing(blend):
  scored = np.arange(12) != 1
  spoilt = batch(rewards=np.where(scored, REWARDS, np.nan).astype(np.float32), reward_mask=scored)
  streams, metrics = signal_of(spoilt, blend=blend, **SCRIPT)
  alone, of_alone = signal_of(batch(row_mask=scored), blend=blend, **SCRIPT)
  for name in streams:
    np.testing.assert_allclose(streams[name].targets, alone[name].targets, atol=1e-6)
    assert not streams[name].weights[1].any()
  assert {n: float(x.value) for n, x in metrics.items()} == {n: float(x.value) for n, x in of_alone.items()}


@pytest.mark.parametrize(
  ("option", "value", "message"),
  [
    ("blend", "soft-with-zero", "method.blend is one of no global, only global, .*, got 'soft-with-zero'"),
    ("prompt_reward", "sum", "method.prompt_reward is one of mean, consistent, got 'sum'"),
    ("aggregation", "mean", "method.aggregation is one of"),
  ],
)
def test_options_that_are_not_known_are_refused(option, value, message):
  with pytest.raises(ValueError, match=message):
    built(**{option: value})


@pytest.mark.parametrize(("option", "value"), [("gamma", -1.0), ("rho", float("inf")), ("ddof", 2)])
def test_numbers_out_of_range_are_refused(option, value):
  with pytest.raises(UserError, match=f"method.{option}: want"):
    check_options(config_of(copo, **{option: value}), copo)


def test_two_iterations():
  """Untrained responses seldom hold an answer, so that all agree and the global loss counts."""
  done = two_iterations("copo")
  assert_whole(done)
  for metrics in done.metrics:
    assert ((0 <= metrics["local_weight"]) & (metrics["local_weight"] < 1)).all()
    assert (metrics["no_gradient"] < 1).all() and np.isfinite(metrics["loss/global"]).all()
