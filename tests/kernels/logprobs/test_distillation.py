from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.logprobs.chunked import Chunked
from rl_jax.kernels.logprobs.distillation import linear_forward_kl, linear_generalized_jsd, linear_reverse_kl
from tests.kernels.kernel import Kernel, quick_jit

N, V = 21, 150
RNG = np.random.default_rng(0)
STUDENT = RNG.normal(size=(N, 6)), RNG.normal(size=(6, V))
TEACHER = RNG.normal(size=(N, 4)), RNG.normal(size=(4, V))
MASK, WEIGHTS = np.arange(N) % 4 > 0, RNG.normal(size=N)
OPTIONS = dict(layout="DV", temperature=0.7, soft_cap=3.0)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
  monkeypatch.setattr(Chunked, "sized", lambda width: Chunked(rows=8, columns=64))


def everything(student, teacher, dtype=jnp.float32, **options):
  """The divergence, and the gradients of a fixed combination of its rows by all four arrays."""
  arrays = [jnp.asarray(x, dtype) for x in (*student, *teacher)]

  def total(*arrays):
    found = linear_generalized_jsd(*arrays, MASK, **options)
    return (WEIGHTS * found).sum(), found

  found, divergence = quick_jit(jax.grad(total, argnums=(0, 1, 2, 3), has_aux=True))(*arrays)
  return divergence, *found


def assert_near(actual, expected, tolerance):
  for a, b in zip(actual, expected, strict=True):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape and np.abs(a - b).max() <= tolerance * max(np.abs(b).max(), 1e-300)


def test_by_hand():
  # Student (1/2, 1/2), teacher (3/4, 1/4), M = (5/8, 3/8) with beta 1/2.
  student, teacher = jnp.zeros((1, 2)), jnp.log(jnp.array([[0.75, 0.25]]))
  pairs = student, jnp.eye(2), teacher, jnp.eye(2), jnp.ones(1)
  kl = lambda p, q: sum(a * np.log(a / b) for a, b in zip(p, q, strict=True))
  s, t, m = (0.5, 0.5), (0.75, 0.25), (0.625, 0.375)
  np.testing.assert_allclose(linear_forward_kl(*pairs, layout="DV"), [kl(t, s)], rtol=1e-5)
  np.testing.assert_allclose(linear_reverse_kl(*pairs, layout="DV"), [kl(s, t)], rtol=1e-5)
  np.testing.assert_allclose(linear_generalized_jsd(*pairs, layout="DV"), [(kl(t, m) + kl(s, m)) / 2], rtol=1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_value_and_gradient_against_float64(beta):
  options = OPTIONS | {"beta": beta}
  with jax.enable_x64(True):
    expected = everything(STUDENT, TEACHER, jnp.float64, **options, implementation="reference")
    assert_near(everything(STUDENT, TEACHER, jnp.float64, **options), expected, 1e-12)
  assert_near(everything(STUDENT, TEACHER, **options), expected, 2e-5)
  # What is constant: the teacher.
  assert not expected[3].any() and not expected[4].any()


def test_layouts_agree():
  turned = everything((STUDENT[0], STUDENT[1].T), (TEACHER[0], TEACHER[1].T), **OPTIONS | {"layout": "VD"})
  divergence, d_hidden, d_matrix, *_ = everything(STUDENT, TEACHER, **OPTIONS)
  assert_near(turned[:3], (divergence, d_hidden, d_matrix.T), 2e-6)


def test_masked_rows_are_zero_and_reach_nothing():
  spoil = lambda pair: (np.where(MASK[:, None], pair[0], np.nan), pair[1])
  found = everything(spoil(STUDENT), spoil(TEACHER), **OPTIONS)
  for a, b in zip(found, everything(STUDENT, TEACHER, **OPTIONS), strict=True):
    np.testing.assert_array_equal(a, b)
  assert not found[0][~MASK].any() and not found[1][~MASK].any()


def test_a_student_that_is_the_teacher():
  divergence, *gradients = everything(STUDENT, STUDENT, **OPTIONS)
  np.testing.assert_allclose(divergence, np.zeros(N), atol=1e-6)
  assert all(np.abs(g).max() < 1e-5 for g in gradients)


def test_no_array_grows_with_rows_times_vocabulary():
  rows, vocabulary = 2048, 8192
  shapes = (rows, 8), (8, vocabulary), (rows, 4), (4, vocabulary), (rows,)
  total = lambda *arrays: linear_generalized_jsd(*arrays, layout="DV").sum()
  compiled = jax.jit(jax.grad(total, argnums=(0, 1))).lower(*(jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes))
  assert compiled.compile().memory_analysis().temp_size_in_bytes < 0.01 * 4 * rows * vocabulary


def test_wrong_calls_say_what_to_do():
  call = partial(linear_generalized_jsd, *STUDENT, TEACHER[0])
  with pytest.raises(ValueError, match="expected 0 <= beta <= 1, got 2"):
    call(TEACHER[1], MASK, layout="DV", beta=2)
  with pytest.raises(ValueError, match=r"must have one vocabulary, got \[150, 149\] tokens"):
    call(TEACHER[1][:, 1:], MASK, layout="DV")
  with pytest.raises(ValueError, match="unknown implementation 'pallas'; known: reference, chunked"):
    call(TEACHER[1], MASK, layout="DV", implementation="pallas")


# Shapes so small that the gradient by a matrix counts as group-sized in the suite over devices.
SIZES = {"D": 3, "E": 2, "N": 11}
PAIRS = {
  "student_hidden": "BTD",
  "student_matrix": "DN",
  "teacher_hidden": "BTE",
  "teacher_matrix": "EN",
  "mask": "BT",
}


def _divergence(function, **options):
  gradients = ("student_hidden", "student_matrix")
  return Kernel(function, PAIRS, {"layout": "DV", **options}, gradients=gradients, sizes=SIZES)


KERNELS = [
  _divergence(linear_generalized_jsd, temperature=0.7, beta=0.3),
  _divergence(linear_generalized_jsd, soft_cap=2.0, implementation="reference"),
  _divergence(linear_forward_kl),
  _divergence(linear_reverse_kl),
]
