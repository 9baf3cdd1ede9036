from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages import difficulty
from rl_jax.kernels.advantages.group import dr_grpo, grpo
from rl_jax.kernels.losses.policy import policy_gradient
from rl_jax.methods.a_grae import released
from tests.kernels.kernel import Kernel
from tests.kernels.papers import as_released

REWARDS = jnp.array([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0])
ARGS = REWARDS, jnp.array([7] * 4 + [-2] * 4), jnp.ones(8, bool)


def as_code(rewards, group_ids, mask):
  return released(rewards, group_ids, mask, rewards, alpha=1.0, base="grpo", ddof=1, eps=1e-6)


def test_hard_and_easy_prompts():
  paper = [0.591505] + [-0.394337] * 3 + [0.197168] * 3 + [-1.183010]
  np.testing.assert_allclose(difficulty.a_grae(*ARGS), paper, atol=1e-6)
  code = [0.749997] + [-0.499998] * 3 + [0.538670] * 3 + [-3.232023]
  np.testing.assert_allclose(as_code(*ARGS), code, rtol=1e-5)
  # The mean over groups is 1/2 in the code; over rows, with an unscored one left out, 4/7.
  args = REWARDS.at[7].set(jnp.nan), ARGS[1], ARGS[2].at[7].set(False)
  np.testing.assert_allclose(difficulty.batch_success_rate(args[0], args[2]), 4 / 7, rtol=1e-6)
  np.testing.assert_allclose(as_released.success_rate_over_groups(*args), (1 / 4 + 1) / 2, rtol=1e-6)


def test_ablations_are_one_equation_each():
  group, sample = (difficulty.a_grae(*ARGS, levels=levels) for levels in ("group", "sample"))
  base = grpo(*ARGS)
  np.testing.assert_allclose(group, jnp.where(base > 0, base / 2, base), rtol=1e-6)
  both = difficulty.a_grae(*ARGS)
  np.testing.assert_allclose(both, jnp.where(base > 0, sample / 2, sample), rtol=1e-6)
  # omega is above alpha: nothing is damped.
  np.testing.assert_allclose(difficulty.a_grae(*ARGS, alpha=0.25), sample, rtol=1e-6)


def test_unit_factors_are_the_base():
  np.testing.assert_array_equal(difficulty.sign_dominant(*ARGS, beta=1.0), grpo(*ARGS))
  np.testing.assert_array_equal(difficulty.sign_dominant(*ARGS, beta=1.0, base="dr_grpo"), dr_grpo(*ARGS))


@pytest.mark.parametrize("correct", [1, 2, 5])
def test_total_size_of_a_group(correct):
  rewards, options = jnp.arange(6) < correct, dict(ddof=0, eps=0.0)
  args, p = (rewards.astype(jnp.float32), jnp.full(6, 3), jnp.ones(6, bool)), correct / 6
  size = lambda advantages: float(jnp.abs(advantages).sum())
  assert size(grpo(*args, **options)) == pytest.approx(12 * np.sqrt(p * (1 - p)), rel=1e-5)
  assert size(difficulty.difficulty_focused(*args, **options)) == pytest.approx(6 * np.sqrt(1 - p), rel=1e-5)
  assert size(difficulty.difficulty_focused(*args, focus="easy", **options)) == pytest.approx(6 * np.sqrt(p), rel=1e-5)


def test_only_a_negative_sum_raises_what_was_not_sampled():
  args = jnp.array([1.0, 0.0, 1.0, 0.0]), jnp.zeros(4, jnp.int32), jnp.ones(4, bool)

  def rise(advantages):
    """Ascent on the logits of five trajectories, of which the last is not sampled."""

    def objective(logits):
      logprobs = jax.nn.log_softmax(logits)[:4, None]
      old = jax.lax.stop_gradient(logprobs)
      return -policy_gradient(logprobs, old, advantages[:, None], jnp.ones((4, 1))).losses.sum()

    return float(jax.grad(objective)(jnp.zeros(5))[4])

  assert rise(grpo(*args)) == pytest.approx(0, abs=1e-6)
  assert rise(difficulty.sign_dominant(*args)) < -1
  for advantages in (difficulty.a_grae(*args), difficulty.sign_dominant(*args, sign="negative")):
    np.testing.assert_allclose(rise(advantages), -advantages.sum() / 5, rtol=1e-5)
    assert rise(advantages) > 0.05


def test_success_of_rewards_that_are_not_binary():
  _, ids, mask = ARGS
  args = 3 * REWARDS - 1, ids, mask
  advantages = difficulty.a_grae(*args, correct=REWARDS > 0, eps=0.0)
  np.testing.assert_allclose(advantages, difficulty.a_grae(*ARGS, eps=0.0), rtol=1e-5)
  # Mean rewards -0.25 and 1.25 count as 0 and 1, so nothing is rescaled but by omega = 1/2.
  np.testing.assert_allclose(difficulty.a_grae(*args), difficulty.a_grae(*args, levels="group"), rtol=1e-6)


def test_degenerate_batches():
  ids, mask = jnp.array([0, 0, 1]), jnp.ones(3, bool)
  for a_grae in (difficulty.a_grae, as_code):
    for rewards in (jnp.ones(3), jnp.zeros(3), jnp.array([0.0, 0.0, 1.0])):
      assert not a_grae(rewards, ids, mask).any()
  assert not difficulty.difficulty_focused(jnp.ones(3), ids, mask).any()
  assert difficulty.batch_success_rate(jnp.ones(3), ~mask) == 0


def test_an_unknown_option_lists_the_known():
  with pytest.raises(ValueError, match="a_grae: unknown base 'rloo'; known: grpo, dr_grpo"):
    difficulty.a_grae(*ARGS, base="rloo")
  with pytest.raises(ValueError, match="unknown focus 'medium'; known: hard, easy"):
    difficulty.difficulty_focused(*ARGS, focus="medium")


ROWS = {"rewards": "B", "group_ids": "B", "mask": "B"}
DRAWS = {"rewards": lambda rng, shape: rng.integers(0, 2, shape).astype("float32")}

KERNELS = [
  Kernel(difficulty.batch_success_rate, {"rewards": "B", "mask": "B"}, scope="batch", draws=DRAWS),
  Kernel(difficulty.a_grae, ROWS, scope="batch", draws=DRAWS),
  Kernel(difficulty.a_grae, {**ROWS, "correct": "B"}, {"base": "dr_grpo"}, scope="batch"),
  Kernel(difficulty.sign_dominant, ROWS, {"sign": "negative"}, scope="group", draws=DRAWS),
  Kernel(difficulty.difficulty_focused, ROWS, {"focus": "easy"}, scope="group", draws=DRAWS),
]
