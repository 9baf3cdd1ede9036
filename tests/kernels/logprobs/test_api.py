from __future__ import annotations

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.logprobs import linear_logprobs, token_logprobs
from rl_jax.kernels.logprobs.chunked import Chunked
from rl_jax.kernels.logprobs.pallas_gpu import PallasGPU
from rl_jax.kernels.logprobs.pallas_tpu import PallasTPU
from rl_jax.kernels.logprobs.readout import Readout
from rl_jax.kernels.logprobs.recomputed import Recomputed
from tests.kernels.kernel import Kernel, quick_jit
from tests.kernels.numerics import finite_difference

# Neither a multiple of the blocks below; the width is neither of Triton's tiles nor of the TPU's lanes.
N, D, V = 21, 12, 150
RNG = np.random.default_rng(0)
HIDDEN, MATRIX = RNG.normal(size=(N, D)), RNG.normal(size=(D, V))
TARGETS, WEIGHTS = RNG.integers(0, V, N).astype(np.int32), RNG.normal(size=(2, N))
PASSES = {
  "one block": Chunked(),
  "blocks": Chunked(rows=8, columns=64),
  "tpu": PallasTPU(rows=16, columns=128, interpret=True),
  "gpu": PallasGPU(rows=16, columns=16, depth=16, splits=4, chunks=Chunked(rows=16, columns=64), interpret=True),
}
OPTIONS = {"plain": (1.0, None), "temperature": (0.6, None), "soft cap": (1.0, 3.0), "both": (0.6, 3.0)}
CASES = [
  pytest.param(layout, name, marks=() if name in ("plain", "both") else pytest.mark.slow)
  for layout, name in itertools.product(("DV", "VD"), OPTIONS)
]


def laid_out(matrix, layout):
  return matrix if layout == "DV" else matrix.T


def loops(hidden, matrix, temperature, soft_cap):
  """Logprobs and entropies of [D, V], row by row."""
  logprobs, entropies = np.zeros(len(hidden)), np.zeros(len(hidden))
  for n in range(len(hidden)):
    z = hidden[n] @ matrix
    z = (z if soft_cap is None else soft_cap * np.tanh(z / soft_cap)) / temperature
    log_p = z - z.max() - np.log(np.exp(z - z.max()).sum())
    logprobs[n], entropies[n] = log_p[TARGETS[n]], -(np.exp(log_p) * log_p).sum()
  return logprobs, entropies


def gradients(function, hidden, matrix):
  """Both outputs, and the gradients of a fixed combination of them."""

  def total(hidden, matrix):
    logprobs, entropies = function(hidden, matrix)[:2]
    return (WEIGHTS[0] * logprobs + WEIGHTS[1] * entropies).sum(), (logprobs, entropies)

  found, outputs = quick_jit(jax.grad(total, argnums=(0, 1), has_aux=True))(hidden, matrix)
  return *outputs, *found


def reference(hidden, matrix, layout, temperature, soft_cap):
  """What is computed in float64 from the logits."""
  options = dict(layout=layout, temperature=temperature, soft_cap=soft_cap, implementation="reference")
  with jax.enable_x64(True):
    wide = jnp.asarray(hidden, jnp.float64), jnp.asarray(matrix, jnp.float64)
    return gradients(lambda h, m: linear_logprobs(h, m, TARGETS, jnp.ones(N), **options), *wide)


def assert_near(actual, expected, tolerance):
  """Relative to the largest entry of each array."""
  for a, b in zip(actual, expected, strict=True):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape and np.abs(a - b).max() <= tolerance * np.abs(b).max()


@pytest.mark.parametrize("implementation", ["reference", "chunked"])
def test_by_hand(implementation):
  # Logits log(1/2), log(1/4), log(1/4): H = 3/2 log 2; at temperature 1/2, p = 4/6, 1/6, 1/6.
  matrix = jnp.log(jnp.array([[0.5, 0.25, 0.25]]))
  call = partial(linear_logprobs, jnp.ones((2, 1)), matrix, jnp.array([0, 2]), jnp.ones(2), layout="DV")
  found = call(implementation=implementation)
  np.testing.assert_allclose(found.logprobs, np.log([0.5, 0.25]), rtol=1e-6)
  np.testing.assert_allclose(found.entropies, [1.5 * np.log(2)] * 2, rtol=1e-6)
  sharper = call(implementation=implementation, temperature=0.5)
  np.testing.assert_allclose(sharper.logprobs, np.log([4 / 6, 1 / 6]), rtol=1e-6)


@pytest.mark.parametrize(("temperature", "soft_cap"), [(1.0, None), (0.6, 3.0)])
def test_the_reference_against_loops(temperature, soft_cap):
  found = reference(HIDDEN, MATRIX, "DV", temperature, soft_cap)
  expected = loops(HIDDEN, MATRIX, temperature, soft_cap)
  assert_near(found[:2], expected, 1e-12)

  def total(hidden, matrix):
    return sum((w * x).sum() for w, x in zip(WEIGHTS, loops(hidden, matrix, temperature, soft_cap), strict=True))

  assert_near(found[2:3], [finite_difference(lambda h: total(h, MATRIX), HIDDEN)], 1e-7)
  few = finite_difference(lambda m: total(HIDDEN, np.concatenate([m, MATRIX[:, 2:]], axis=1)), MATRIX[:, :2])
  assert_near([found[3][:, :2]], [few], 1e-6)


@pytest.mark.parametrize(("layout", "options"), CASES)
@pytest.mark.parametrize("passes", PASSES)
def test_value_and_gradient_against_float64(passes, layout, options):
  temperature, soft_cap = OPTIONS[options]
  hidden, matrix = jnp.float32(HIDDEN), jnp.float32(laid_out(MATRIX, layout))
  function = Recomputed(PASSES[passes], Readout(layout, temperature, soft_cap))
  found = gradients(lambda h, m: function(h, m, TARGETS), hidden, matrix)
  assert_near(found, reference(hidden, matrix, layout, temperature, soft_cap), 5e-6)


@pytest.mark.parametrize("passes", PASSES)
def test_bfloat16_is_summed_in_float32(passes):
  hidden, matrix = jnp.bfloat16(HIDDEN), jnp.bfloat16(MATRIX)
  function = Recomputed(PASSES[passes], Readout("DV", 0.6, 3.0))
  *outputs, d_hidden, d_matrix = gradients(lambda h, m: function(h, m, TARGETS), hidden, matrix)
  *expected, by_hidden, by_matrix = reference(hidden.astype(float), matrix.astype(float), "DV", 0.6, 3.0)
  assert all(x.dtype == jnp.float32 for x in outputs) and d_hidden.dtype == d_matrix.dtype == jnp.bfloat16
  assert_near(outputs, expected, 5e-6)
  assert_near((d_hidden, d_matrix), (by_hidden, by_matrix), 2**-7)


def test_float64_stays_float64():
  with jax.enable_x64(True):
    function = Recomputed(PASSES["blocks"], Readout("DV", 0.6, 3.0))
    found = gradients(lambda h, m: function(h, m, TARGETS), jnp.array(HIDDEN), jnp.array(MATRIX))
  assert_near(found, reference(HIDDEN, MATRIX, "DV", 0.6, 3.0), 1e-12)


def test_large_scores_do_not_overflow():
  found = gradients(lambda h, m: Recomputed(PASSES["blocks"], Readout())(h, m, TARGETS), 300 * HIDDEN, MATRIX)
  assert all(np.isfinite(x).all() for x in found)
  assert_near(found[:1], loops(300 * HIDDEN, MATRIX, 1.0, None)[:1], 1e-6)


@pytest.mark.parametrize("implementation", ["reference", "chunked"])
def test_masked_rows_are_zero_and_reach_nothing(implementation):
  mask = np.arange(N) % 3 > 0
  spoiled = jnp.float32(np.where(mask[:, None], HIDDEN, np.nan)), jnp.float32(MATRIX)
  targets = np.where(mask, TARGETS, 10**6)
  options = dict(layout="DV", implementation=implementation)
  function = lambda h, m: linear_logprobs(h, m, jnp.array(targets), jnp.array(mask), **options)
  logprobs, entropies, d_hidden, d_matrix = gradients(function, *spoiled)
  assert not logprobs[~mask].any() and not entropies[~mask].any() and not d_hidden[~mask].any()
  only = lambda h, m: [
    jnp.zeros(N).at[mask].set(x)
    for x in linear_logprobs(h[mask], m, TARGETS[mask], jnp.ones(mask.sum()), **options)[:2]
  ]
  expected = gradients(only, jnp.float32(HIDDEN), jnp.float32(MATRIX))
  assert_near((logprobs, entropies, d_hidden, d_matrix), expected, 5e-6)


@pytest.mark.parametrize("passes", ["one block", "blocks"])
def test_the_largest_logprobs(passes):
  matrix = jnp.float32(MATRIX).at[:, 140].set(MATRIX[:, 3])  # equal scores: the smaller id comes first
  outputs = Recomputed(PASSES[passes], Readout("DV", 0.6), top_k=V)(jnp.float32(HIDDEN), matrix, TARGETS)
  logprobs = jax.nn.log_softmax(jnp.float32(HIDDEN) @ matrix / 0.6)
  order = np.argsort(-logprobs, axis=1, stable=True)
  np.testing.assert_allclose(outputs.top_logprobs, np.take_along_axis(logprobs, order, axis=1), atol=1e-5)
  # Neighbours closer than the rounding of the product may trade places.
  assert (np.asarray(outputs.top_tokens) == order).mean() > 0.99
  places = np.argsort(outputs.top_tokens, axis=1)
  assert (places[:, 3] < places[:, 140]).all() and (np.sort(outputs.top_tokens, axis=1) == np.arange(V)).all()


@pytest.mark.parametrize("implementation", ["reference", "chunked"])
def test_the_k_largest_come_beside(implementation):
  mask = np.arange(N) > 0
  call = lambda hidden: linear_logprobs(
    hidden, jnp.float32(MATRIX), TARGETS, mask, layout="DV", top_k=3, implementation=implementation
  )
  found = call(jnp.float32(HIDDEN))
  logprobs = jax.nn.log_softmax(jnp.float32(HIDDEN) @ jnp.float32(MATRIX))
  np.testing.assert_allclose(found.top_logprobs[1:], -np.sort(-logprobs, axis=1)[1:, :3], atol=1e-5)
  np.testing.assert_array_equal(found.top_tokens[1:, 0], np.argmax(logprobs, axis=1)[1:])
  assert not found.top_logprobs[0].any() and not found.top_tokens[0].any()
  assert not jax.grad(lambda h: call(h).top_logprobs.sum())(jnp.float32(HIDDEN)).any()


def test_hidden_states_of_a_model_give_token_logprobs():
  """The shift: row t - 1 of a sequence scores its token t."""
  hidden, matrix = jnp.float32(RNG.normal(size=(2, 5, D))), jnp.float32(MATRIX)
  tokens = jnp.array(RNG.integers(0, V, (2, 5)))
  expected = token_logprobs(hidden @ matrix, tokens, temperature=0.6)
  found = linear_logprobs(hidden[:, :-1], matrix, tokens[:, 1:], jnp.ones((2, 4)), layout="DV", temperature=0.6)
  for a, b in zip(found[:2], expected, strict=True):
    np.testing.assert_allclose(a, b[:, 1:], atol=5e-5)


def temporary(layout, rows, vocabulary, dtype=jnp.float32):
  """Bytes that value and gradient need beyond inputs and outputs, in blocks of 128 x 128 at width 8."""
  matrix = jax.ShapeDtypeStruct((8, vocabulary) if layout == "DV" else (vocabulary, 8), dtype)
  inputs = jax.ShapeDtypeStruct((rows, 8), dtype), matrix, jax.ShapeDtypeStruct((rows,), jnp.int32)
  passes = Recomputed(Chunked(rows=128, columns=128), Readout(layout))
  total = lambda h, m, t: sum(x.sum() for x in passes(h, m, t)[:2])
  return jax.jit(jax.grad(total, argnums=(0, 1))).lower(*inputs).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("layout", ["DV", "VD"])
def test_no_array_grows_with_rows_times_vocabulary(layout):
  """Forward and backward: four times the rows and twice the vocabulary, and the blocks stay as they are."""
  logits = 4 * 2048 * 8192
  assert temporary(layout, 2048, 8192) < 0.02 * logits
  rows = 4 * (2048 - 512) * (2 * 8 + 16)  # copies of hidden states, and what is known of each row
  assert temporary(layout, 2048, 8192) - temporary(layout, 512, 4096) < rows


@pytest.mark.parametrize("layout", ["DV", "VD"])
def test_a_matrix_in_bfloat16_is_copied_once_and_never_widened(layout):
  """A CPU copies its bits; without, XLA would convert the whole of it to float32, or with each of its slices."""
  assert temporary(layout, 128, 2**17, jnp.bfloat16) < 1.25 * 2 * 8 * 2**17


def test_a_target_outside_the_vocabulary_is_seen():
  targets = jnp.array([-1, V, V - 1])
  found = linear_logprobs(jnp.float32(HIDDEN[:3]), jnp.float32(MATRIX), targets, jnp.ones(3), layout="DV")
  assert (found.logprobs[:2] < -1e29).all() and found.logprobs[2] > -100


def test_no_rows():
  found = linear_logprobs(jnp.zeros((0, 2)), jnp.zeros((2, 3)), jnp.zeros(0, int), jnp.zeros(0), layout="DV")
  assert found.logprobs.shape == (0,)


def test_wrong_calls_say_what_to_do():
  call = partial(linear_logprobs, jnp.zeros((2, 3)), jnp.zeros((3, 5)), jnp.zeros(2, int), jnp.ones(2))
  with pytest.raises(ValueError, match="unknown layout 'vd'; known: DV, VD"):
    call(layout="vd")
  with pytest.raises(ValueError, match=r"expected a matrix \[V D\] with D = 3, got \(3, 5\)"):
    call(layout="VD")
  with pytest.raises(ValueError, match="unknown implementation 'fused'; known: reference, chunked, pallas"):
    call(layout="DV", implementation="fused")
  with pytest.raises(ValueError, match="top_k between 0 and 5, the vocabulary, got 6"):
    call(layout="DV", top_k=6)
  with pytest.raises(ValueError, match="above 0, got 0 and None"):
    call(layout="DV", temperature=0)
  with pytest.raises(ValueError, match=r"mask \[\*N\], got \(2, 3\), \(2,\), \(1,\)"):
    linear_logprobs(jnp.zeros((2, 3)), jnp.zeros((3, 5)), jnp.zeros(2, int), jnp.ones(1), layout="DV")


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the kernels run here")
def test_a_kernel_that_cannot_run_here_is_an_error():
  with pytest.raises(ValueError, match="'pallas' runs on gpu and tpu, this is cpu; use 'chunked' or None"):
    linear_logprobs(
      jnp.zeros((2, 3)), jnp.zeros((3, 5)), jnp.zeros(2, int), jnp.ones(2), layout="DV", implementation="pallas"
    )


# Shapes so small that the gradient by a matrix counts as group-sized in the suite over devices.
SIZES = {"D": 3, "E": 2, "N": 11}
HIDDEN_AXES = {"hidden": "BTD", "matrix": "DN", "targets": "BT", "mask": "BT"}


def _targets(rng, shape):
  return rng.integers(0, SIZES["N"], shape).astype(np.int32)


def _logprobs(**options):
  axes = HIDDEN_AXES if options["layout"] == "DV" else {**HIDDEN_AXES, "matrix": "ND"}
  return Kernel(
    linear_logprobs, axes, options, gradients=("hidden", "matrix"), draws={"targets": _targets}, sizes=SIZES
  )


KERNELS = [
  _logprobs(layout="DV", implementation="reference", temperature=0.7, soft_cap=2.0, top_k=2),
  _logprobs(layout="DV", implementation="chunked", temperature=0.7, soft_cap=2.0),
  _logprobs(layout="VD", implementation="chunked", top_k=2),
]
