from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages import consistency
from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.reductions import group_mean, group_sum
from tests.kernels.kernel import Kernel

REWARDS = jnp.array([1.0, 0.0, 1.0, 0.0] + [1.0] * 4 + [0.0] * 4)
ANSWERS = jnp.array([7, 3, 7, 5] + [2] * 4 + [1, 1, 1, 4])
IDS, SCORED = jnp.repeat(jnp.array([4, -1, 90]), 4), jnp.ones(12, bool)
ARGS = REWARDS, ANSWERS, IDS, SCORED


def test_a_mixed_a_correct_and_a_wrong_prompt():
  result = consistency.copo(*ARGS, chosen=SCORED, gamma=5.0, rho=1.0)
  np.testing.assert_allclose(result.entropy[::4], [1.5, 0, 0.811278], atol=1e-6)
  np.testing.assert_allclose(result.prompt_rewards[::4], [0.5, 1, 0])
  np.testing.assert_allclose(result.between[::4], [0, 0.999998, -0.999998], atol=1e-6)
  np.testing.assert_allclose(result.weights[::4], [0.924142, 0.006693, 0.280172], atol=1e-6)
  np.testing.assert_allclose(result.local[:4], [0.866024, -0.866024, 0.866024, -0.866024], atol=1e-6)
  scaled = consistency.copo(*ARGS, scale_by_consistency=True)
  np.testing.assert_allclose(scaled.prompt_rewards[::4], [0.21875, 1, 0], atol=1e-6)


@pytest.mark.parametrize(
  "rows, soft, mixed, all_correct, all_wrong",
  [
    ("all", False, [1, 1, 1, 1], [1] * 4, [1] * 4),
    ("none", True, [0, 0, 0, 0], [0] * 4, [0] * 4),
    ("all", True, [0.9, 0.9, 0.9, 0.9], [0.3] * 4, [0.6] * 4),
    ("advantage", False, [1, 1, 1, 1], [0] * 4, [0] * 4),
    ("advantage", True, [0.9, 0.9, 0.9, 0.9], [0] * 4, [0] * 4),
    ("reward", False, [1, 0, 1, 0], [1] * 4, [0] * 4),
    ("reward", True, [0.9, 0, 0.9, 0], [0.3] * 4, [0] * 4),
    ("group", True, [0.9, 0.9, 0.9, 0.9], [0.3] * 4, [0] * 4),
  ],
)
def test_weights_of_chosen_rows(rows, soft, mixed, all_correct, all_wrong):
  chosen = {
    "all": SCORED,
    "none": ~SCORED,
    "advantage": grpo(REWARDS, IDS, SCORED) != 0,
    "reward": REWARDS != 0,
    "group": group_sum(REWARDS != 0, IDS, SCORED) > 0,
  }
  # Entropies whose sigmoid is the weight.
  entropy = jnp.log(jnp.repeat(jnp.array([9.0, 3 / 7, 1.5]), 4))
  weights = consistency.blend_weights(entropy, chosen[rows], SCORED, gamma=1.0, rho=0.0, soft=soft)
  np.testing.assert_allclose(weights, mixed + all_correct + all_wrong, rtol=1e-5)


def test_answers_are_ids_within_a_group_and_unscored_rows_do_not_count():
  answers, ids = jnp.array([0, 1, 1, 0, 1, 2, 2**31 - 1]), jnp.array([3, 3, 8, 8, 8, 8, 3])
  scored = jnp.array([True, True, True, True, True, False, False])
  entropy = consistency.consistency_entropy(answers, ids, scored)
  thirds = -(np.log2(1 / 3) + 2 * np.log2(2 / 3)) / 3
  np.testing.assert_allclose(entropy, [1, 1, thirds, thirds, thirds, 0, 0], atol=1e-6)


def test_the_factor_runs_from_one_to_one_over_n():
  ids, mask = jnp.array([1, 1, 1, 2, 2, 2, 3]), jnp.ones(7, bool)
  entropy = consistency.consistency_entropy(jnp.array([5, 6, 7, 5, 5, 5, 5]), ids, mask)
  expected = [1 / 3] * 3 + [1] * 4
  np.testing.assert_allclose(consistency.consistency_factor(entropy, ids, mask), expected, rtol=1e-5)


def test_every_prompt_counts_once():
  # Means 0, 1/4 and 1 of groups of 1, 4 and 2: the size of a group must not matter.
  rewards, ids = jnp.array([0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0]), jnp.array([5, 2, 2, 2, 2, 9, 9])
  result = consistency.copo(rewards, ids, ids, jnp.ones(7, bool), eps=0.0)
  means = np.array([0, 0.25, 0.25, 0.25, 0.25, 1, 1])
  expected = (means - 1.25 / 3) / np.std([0, 0.25, 1], ddof=1)
  np.testing.assert_allclose(result.between, expected, rtol=1e-5)


def test_degenerate_batches():
  same = consistency.copo(jnp.full(12, 0.1), ANSWERS, IDS, SCORED)
  assert not same.between.any() and not same.local.any() and not same.weights.any()
  one = consistency.copo(REWARDS[:4], ANSWERS[:4], IDS[:4], SCORED[:4])
  assert not one.between.any() and one.local.all()
  alone = consistency.copo(jnp.array([1.0, 0.0]), jnp.array([3, 3]), jnp.array([0, 1]), SCORED[:2])
  np.testing.assert_allclose(alone.local, [1, 0], atol=1e-5)
  np.testing.assert_allclose(alone.between, [0.7071, -0.7071], atol=1e-4)


def test_shapes():
  with pytest.raises(ValueError, match=r"blend_weights: expected arrays of one shape \[B\]"):
    consistency.copo(*ARGS, chosen=SCORED[:3])


GROUPS = {"group_ids": "B", "mask": "B"}
ANSWER_AXES = {"answers": "B", **GROUPS}
DRAWS = {
  "answers": lambda rng, shape: rng.integers(-1, 2, shape).astype("int32") * 7,
  "chosen": lambda rng, shape: rng.random(shape) < 0.7,
}


def _between_prompts(rewards, group_ids, mask):
  return consistency.between_prompts(group_mean(rewards, group_ids, mask), group_ids, mask)


KERNELS = [
  Kernel(consistency.consistency_entropy, ANSWER_AXES, scope="group", draws=DRAWS),
  Kernel(consistency.consistency_factor, {"entropy": "B", **GROUPS}, scope="group"),
  Kernel(_between_prompts, {"rewards": "B", **GROUPS}, scope="batch", public=consistency.between_prompts),
  Kernel(
    consistency.blend_weights,
    {"entropy": "B", "chosen": "B", "mask": "B"},
    draws=DRAWS,
  ),
  Kernel(consistency.copo, {"rewards": "B", **ANSWER_AXES}, scope="batch", draws=DRAWS),
  Kernel(
    consistency.copo,
    {"rewards": "B", "chosen": "B", **ANSWER_AXES},
    {"scale_by_consistency": True},
    scope="batch",
    draws=DRAWS,
  ),
]
