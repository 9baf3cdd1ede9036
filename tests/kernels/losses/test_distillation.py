from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.losses.distillation import forward_kl, generalized_jsd, reverse_kl, top_k_distillation
from tests.kernels.kernel import Kernel
from tests.kernels.numerics import finite_difference

STUDENT, TEACHER = jnp.array([[[1.0, 0.0, -1.0]]]), jnp.array([[[0.0, 0.5, 1.0]]])
ONE = jnp.ones((1, 1))


def test_worked_example():
  options = dict(rtol=1e-6)
  np.testing.assert_allclose(forward_kl(STUDENT, TEACHER, ONE), [[0.707571296]], **options)
  np.testing.assert_allclose(reverse_kl(STUDENT, TEACHER, ONE), [[0.635479280]], **options)
  np.testing.assert_allclose(generalized_jsd(STUDENT, TEACHER, ONE), [[0.153380872]], **options)


def divergence(student, teacher, beta):
  s, t = (np.exp(x) / np.exp(x).sum() for x in (student, teacher))
  m = beta * t + (1 - beta) * s
  kl = lambda p, q: (p * np.log(p / q)).sum()
  return {0: kl(t, s), 1: kl(s, t)}.get(beta, beta * kl(t, m) + (1 - beta) * kl(s, m))


@pytest.mark.parametrize("beta", [0, 0.3, 1])
def test_gradients_reach_the_student_alone(beta):
  with jax.enable_x64(True):
    student, teacher = STUDENT.astype(float), TEACHER.astype(float)
    loss = lambda s, t: generalized_jsd(s, t, ONE, beta=beta).sum()
    by_student, by_teacher = jax.grad(loss, argnums=(0, 1))(student, teacher)
  expected = finite_difference(lambda x: divergence(x, np.asarray(teacher[0, 0]), beta), np.asarray(student[0, 0]))
  np.testing.assert_allclose(by_student[0, 0], expected, atol=1e-8)
  assert not by_teacher.any()


def test_the_special_cases_are_not_the_limits():
  near = lambda beta: generalized_jsd(STUDENT, TEACHER, ONE, beta=beta)
  np.testing.assert_allclose(near(1e-3) / 1e-3, forward_kl(STUDENT, TEACHER, ONE), rtol=0.01)
  np.testing.assert_allclose(near(1 - 1e-3) / 1e-3, reverse_kl(STUDENT, TEACHER, ONE), rtol=0.01)


@pytest.mark.parametrize("variant", ["kl", "cross_entropy"])
def test_top_k_of_the_whole_vocabulary_is_forward_kl(variant):
  logprobs = jax.nn.log_softmax(TEACHER)
  order = jnp.array([[[2, 0, 1]]])
  args = jnp.take_along_axis(logprobs, order, axis=-1), order, ONE
  of = lambda x: top_k_distillation(x, *args, variant=variant, temperature=0.7).sum()
  full = lambda x: forward_kl(x, 0.7 * TEACHER, ONE, temperature=0.7).sum()
  entropy = -(jnp.exp(logprobs) * logprobs).sum()
  np.testing.assert_allclose(of(STUDENT), full(STUDENT) + (entropy if variant == "cross_entropy" else 0), rtol=1e-5)
  np.testing.assert_allclose(jax.grad(of)(STUDENT), jax.grad(full)(STUDENT), atol=1e-6)


def test_top_k_by_hand():
  # Student uniform over 4: log s = -log 4. Teacher's two best: 1/2 and 1/4, renormalised 2/3 and 1/3.
  args = jnp.zeros((1, 1, 4)), jnp.log(jnp.array([[[0.5, 0.25]]])), jnp.array([[[3, 1]]]), ONE
  np.testing.assert_allclose(top_k_distillation(*args), [[0.5 * np.log(2)]], rtol=1e-6)
  np.testing.assert_allclose(top_k_distillation(*args, variant="cross_entropy"), [[np.log(4)]], rtol=1e-6)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_tokens_that_neither_can_sample_change_nothing(beta):
  never = lambda x: jnp.concatenate([x, jnp.full((1, 1, 1), -jnp.inf)], axis=-1)
  of = partial(generalized_jsd, mask=ONE, beta=beta)
  np.testing.assert_allclose(of(never(STUDENT), never(TEACHER)), of(STUDENT, TEACHER), rtol=1e-6)
  slope = lambda s, t: jax.grad(lambda x: of(x, t).sum())(s)
  np.testing.assert_allclose(
    slope(never(STUDENT), never(TEACHER))[..., :3], slope(STUDENT, TEACHER), rtol=1e-5, atol=1e-7
  )


def test_a_token_that_only_one_can_sample():
  less = STUDENT.at[0, 0, 2].set(-jnp.inf)
  assert jnp.isinf(forward_kl(less, TEACHER, ONE)) and jnp.isfinite(reverse_kl(less, TEACHER, ONE))
  assert jnp.isfinite(generalized_jsd(less, TEACHER, ONE))


def test_wrong_calls_say_what_to_do():
  with pytest.raises(ValueError, match="expected 0 <= beta <= 1, got 1.5"):
    generalized_jsd(STUDENT, TEACHER, ONE, beta=1.5)
  with pytest.raises(ValueError, match=r"expected arrays of one shape \[B T V\]"):
    reverse_kl(STUDENT, TEACHER[..., :2], ONE)
  with pytest.raises(ValueError, match="unknown variant 'js'; known: kl, cross_entropy"):
    top_k_distillation(STUDENT, TEACHER, jnp.zeros((1, 1, 3), int), ONE, variant="js")


# N is the vocabulary: these logits are aligned with the tokens, unlike a model's, which axis V stands for.
LOGITS = {"student_logits": "BTN", "teacher_logits": "BTN", "mask": "BT"}
SIZES = {"N": 11}


def _divergence(function, **options):
  return Kernel(function, LOGITS, options, gradients=("student_logits",), sizes=SIZES)


def _top_k(**options):
  return Kernel(
    top_k_distillation,
    {"student_logits": "BTN", "teacher_logprobs": "BTK", "teacher_tokens": "BTK", "mask": "BT"},
    options,
    gradients=("student_logits",),
    draws={"teacher_tokens": lambda rng, shape: rng.integers(0, SIZES["N"], shape).astype(np.int32)},
    sizes=SIZES,
  )


KERNELS = [
  _divergence(generalized_jsd, temperature=0.7),
  _divergence(forward_kl),
  _divergence(reverse_kl),
  _top_k(),
  _top_k(variant="cross_entropy"),
]
