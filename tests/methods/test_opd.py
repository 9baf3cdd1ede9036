"""OPD: the spec's worked example, what its expectation is the gradient of, rewards beside the teacher, and a teacher of
another size through the trainer."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.kernels.losses.distillation import reverse_kl
from rl_jax.launching import initialization
from rl_jax.methods import opd
from rl_jax.methods.method import check_options
from tests.methods.batches import TASK, batch_of, config_of
from tests.training import every_method, small

STUDENT, TEACHER = np.float32([1, 0, -1]), np.float32([0, 0.5, 1])
K1 = np.float32([-1.272664, 0.227336, 1.727336])
"""log T - log S of the three tokens at the spec's state."""


def built(**options):
  return opd.build(config_of(opd, **{"held_out_prompts": 0} | options), TASK)


def rows_of(student, teacher, mask=None, **fields):
  """Rows with logprobs of the sampler and of the teacher."""
  mask = np.ones(np.shape(student), bool) if mask is None else mask
  return batch_of(mask, old_logprobs=np.float32(student), extras={"teacher_logprobs": np.float32(teacher)}, **fields)


def at_one_state():
  """A row for each token of the vocabulary at the spec's state."""
  return rows_of(*((x - np.log(np.exp(x).sum()))[:, None] for x in (STUDENT, TEACHER)))


def signal_of(rows, **options):
  """As one program: quicker to make than one for each operation."""
  return jax.device_get(jax.jit(built(**options).signal)(rows, np.int32(0)))


def targets_of(rows, **options):
  return signal_of(rows, **options).streams["policy"].targets


# Hand-computed.


def test_the_worked_example_of_the_spec():
  signal = signal_of(at_one_state())
  np.testing.assert_allclose(signal.streams["policy"].targets[:, 0], K1, atol=1e-5)
  np.testing.assert_allclose(signal.metrics["reverse_kl"].value, -K1.mean(), atol=1e-5)
  np.testing.assert_allclose(targets_of(at_one_state(), coefficient=2.0)[:, 0], 2 * K1, atol=1e-5)


def test_a_discount_adds_what_comes_later():
  rows = rows_of([[-1, -2, -3, -9]], [[-2, -1, -4, 0]], np.array([[1, 1, 1, 0]], bool))
  np.testing.assert_allclose(targets_of(rows), [[-1, 1, -1, 0]])
  np.testing.assert_allclose(targets_of(rows, discount=0.5), [[-1 + 0.5 - 0.25, 1 - 0.5, -1, 0]])
  np.testing.assert_allclose(targets_of(rows, discount=1.0), [[-1, 0, -1, 0]])


def test_rewards_count_against_their_group_and_unscored_rows_keep_the_teacher():
  """Group means .5, over the scored rows alone; no division by a spread."""
  zeros = np.zeros((5, 1))
  rows = rows_of(
    zeros, zeros - 0.25, rewards=np.float32([1, 0, np.nan, 3, 3]), group_ids=np.array([7, 7, 7, 2, 2]),
    reward_mask=np.array([1, 1, 0, 1, 1], bool),
  )  # fmt: skip
  np.testing.assert_allclose(targets_of(rows)[:, 0], -0.25)
  expected = [2 * 0.5 - 0.25, -2 * 0.5 - 0.25, -0.25, -0.25, -0.25]
  np.testing.assert_allclose(targets_of(rows, reward_coefficient=2.0)[:, 0], expected)


# Gradient.


def test_in_expectation_over_the_vocabulary_it_descends_the_reverse_kl():
  """E[A grad log S] = -grad KL(S || T), through the method's loss, which weighs each token by its chance here."""
  rows, method = at_one_state(), built()
  streams = signal_of(rows).streams
  one = lambda tree, row: jax.tree.map(lambda x: x[row : row + 1], tree)

  def expected(logits):
    logprobs = jax.nn.log_softmax(logits)

    def of_token(row):
      outputs = {"policy": {"logprobs": logprobs[row][None, None], "entropies": jnp.zeros((1, 1))}}
      loss = method.loss(outputs, one(rows, row), one(streams, row))
      return loss.terms["policy"].mean.value

    chances = jax.lax.stop_gradient(jnp.exp(logprobs))
    return sum(chances[row] * of_token(row) for row in range(3))

  divergence = lambda logits: reverse_kl(logits[None, None], jnp.asarray(TEACHER)[None, None], jnp.ones((1, 1))).sum()
  found, wanted = (jax.jit(jax.grad(function))(STUDENT) for function in (expected, divergence))
  np.testing.assert_allclose(wanted, [0.423881177, -0.211155536, -0.212725640], atol=1e-6)
  np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_teacher_that_is_the_student_pushes_nothing():
  logprobs = -np.abs(np.random.default_rng(0).normal(size=(3, 4)))
  assert not targets_of(rows_of(logprobs, logprobs), discount=0.9).any()


# Edge cases.


@pytest.mark.parametrize(("option", "value"), [("coefficient", -1.0), ("discount", 1.5), ("held_out_prompts", -1)])
def test_numbers_out_of_range_are_refused(option, value):
  with pytest.raises(UserError, match=f"method.{option}: want"):
    check_options(config_of(opd, **{option: value}), opd)


def test_a_field_that_the_teacher_does_not_have_is_one_line():
  config = every_method.config_of("opd", "method.teacher.model.widht=8")
  with pytest.raises(
    UserError, match="model rl_jax.models.model: teacher: no field widht: rl_jax.models.model has"
  ) as e:
    initialization.build(config)
  assert "\n" not in str(e.value)


# Through the trainer.


def test_an_iteration_with_a_teacher_of_another_size():
  """The student moves, by a gradient that is there whatever the rewards; the teacher stays, wider and deeper."""
  trainer = every_method.trainer_of(initialization.build(every_method.config_of("opd", "task.levels.four.modulus=97")))
  before = jax.device_get(trainer.state.seeds.models)
  assert before["teacher"].params["embedding"].shape[-1] > before["policy"].params["embedding"].shape[-1]
  assert "layer_1" in before["teacher"].params and "layer_1" not in before["policy"].params
  (metrics,) = trainer.advance().metrics
  after = jax.device_get(trainer.state.seeds.models)
  small.assert_same(before["teacher"].params, after["teacher"].params)
  assert after["teacher"].optimizer is None
  assert (metrics["reward"] == 0).all() and (metrics["gradient_norm"] > 1e-3).all()
  assert (metrics["reverse_kl"] > 1e-3).all() and (metrics["ratio_error"] < 1e-5).all()
