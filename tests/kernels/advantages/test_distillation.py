from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.advantages import distillation
from rl_jax.kernels.advantages.group import dr_grpo
from rl_jax.kernels.losses.distillation import reverse_kl
from rl_jax.kernels.losses.policy import policy_gradient
from rl_jax.kernels.reductions import per_token
from tests.kernels.kernel import Kernel
from tests.kernels.papers.as_released import minillm_trl

SAMPLER, TEACHER = jnp.array([[-1.0, -3.0, jnp.nan, -2.0]]), jnp.array([[-2.0, -1.0, 0.0, -1.0]])
MASK = jnp.array([[1, 1, 0, 1]])
ARGS = SAMPLER, TEACHER, MASK


def test_hand_computed():
  # x = -1, 2, -, 1: the masked slot adds nothing, but the discount crosses it.
  np.testing.assert_allclose(distillation.opd(*ARGS), [[-1, 2, 0, 1]])
  np.testing.assert_allclose(distillation.opd(*ARGS, coef=2.0, discount=0.5), [[0.25, 4.5, 0, 2]])


def test_the_policy_gradient_descends_the_reverse_kl():
  """E_{y ~ S}[A(y) grad log S(y)] = -grad KL(S || T), exactly, by enumeration of the tokens."""
  teacher, ones = jax.nn.log_softmax(jnp.array([0.0, 0.5, 1.0])), jnp.ones((1, 3))

  def loss(logits):
    logprobs = jax.nn.log_softmax(logits)
    sampler = jax.lax.stop_gradient(logprobs)
    advantages = distillation.opd(sampler[None], teacher[None], ones)
    losses = policy_gradient(logprobs[None], sampler[None], advantages, ones, clip="none").losses
    return (jnp.exp(sampler) * losses).sum()

  logits = jnp.array([1.0, 0.0, -1.0])
  expected = jax.grad(lambda x: reverse_kl(x[None, None], teacher[None, None], jnp.ones((1, 1))).sum())(logits)
  np.testing.assert_allclose(jax.grad(loss)(logits), expected, atol=1e-6)


REWARDS, IDS = jnp.array([1.0, 0.0, jnp.nan, 2.0]), jnp.array([3, 3, 3, 8])
SCORED = jnp.array([True, True, False, True])


def test_rewards_and_teacher_together():
  ones = jnp.ones((4, 1))
  sampler, teacher = -ones, jnp.array([[-1.0], [-2.0], [-3.0], [0.0]])
  actual = distillation.opd_with_rewards(REWARDS, IDS, SCORED, sampler, teacher, ones, coef=0.5)
  # The unscored row and the group of one keep the teacher's part.
  np.testing.assert_allclose(actual, [[0.5], [-1.0], [-1.0], [0.5]])
  centred = distillation.opd_with_rewards(REWARDS, IDS, SCORED, sampler, sampler, ones)
  np.testing.assert_array_equal(centred, per_token(dr_grpo(REWARDS, IDS, SCORED, singleton="zero"), ones))


def test_minillm_is_the_teachers_reward_to_go():
  np.testing.assert_allclose(distillation.minillm(*ARGS), [[2, 3, 0, 1]])
  np.testing.assert_array_equal(distillation.minillm(*ARGS, discount=0.0), distillation.opd(*ARGS))
  # Over 1 + 1/2 + 1/8, over 1 + 1/4, over 1.
  normalized = distillation.minillm(*ARGS, discount=0.5, length_normalized=True)
  np.testing.assert_allclose(normalized, [[0.125 / 1.625, 2.25 / 1.25, 0, 1]], rtol=1e-6)


def test_minillm_as_coded_discounts_by_the_slot():
  coded = minillm_trl(*ARGS, discount=0.5)
  np.testing.assert_allclose(coded, distillation.minillm(*ARGS, discount=0.5) * 0.5 ** jnp.arange(4), rtol=1e-6)
  coded = minillm_trl(*ARGS, discount=0.5, length_normalized=True)
  np.testing.assert_allclose(coded[0, 1], 2.25 / (1.25 + 0.5e-4), rtol=1e-6)


def test_degenerate_batches():
  assert not distillation.minillm(SAMPLER, TEACHER, 0 * MASK, length_normalized=True).any()
  assert not distillation.opd(TEACHER, TEACHER, MASK, discount=1.0).any()


SAMPLED = {"sampler_logprobs": "BT", "teacher_logprobs": "BT", "mask": "BT"}

KERNELS = [
  Kernel(distillation.opd, SAMPLED, {"discount": 0.9}),
  Kernel(
    distillation.opd_with_rewards,
    {
      "rewards": "B",
      "group_ids": "B",
      "mask": "B",
      "sampler_logprobs": "BT",
      "teacher_logprobs": "BT",
      "token_mask": "BT",
    },
    scope="group",
    covers={"sampler_logprobs": "token_mask", "teacher_logprobs": "token_mask"},
    zero_masked=False,  # unscored rows keep the teacher's part
  ),
  Kernel(distillation.minillm, SAMPLED, {"discount": 0.9, "length_normalized": True}),
]
