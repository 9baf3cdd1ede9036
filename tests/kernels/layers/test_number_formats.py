from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.layers import number_formats
from rl_jax.kernels.layers.hadamard import random_hadamard
from rl_jax.kernels.layers.number_formats import hifloat4, hifloat4_decode, hifloat4_encode, mxfp4, nvfp4
from tests.kernels import goldens
from tests.kernels.kernel import Kernel, quick_jit
from tests.kernels.papers.hifloat4 import FORMATS

CASES = {case["name"]: case for case in json.loads((goldens.FOLDER / "hifloat4.json").read_text())}
RNG = np.random.default_rng(0)
GAUSS = jnp.asarray(RNG.normal(size=(300, 64)), jnp.float32)
ALL = quick_jit(lambda x: {name: quantize(x) for name, quantize in FORMATS.items()})


def test_values_of_hand():
  rows = [7.0, -3.3, 1.9, 0.1, -3.3, 0.4], [7.0, -5.0, 2.5, 3.5, 0.25, 0.75], [6.0, -5.0, 0.2, 0.0, 0.0, 0.0]
  rounded = ALL(jnp.array(rows))
  # The scale is 7 / 7 = 1; the largest of the first four doubles their unit twice, so they have steps of 1, the next
  # four, within the same eight, steps of 1/2.
  np.testing.assert_array_equal(rounded["hif4"][0], [7, -3, 2, 0, -3.5, 0.5])
  np.testing.assert_array_equal(rounded["mxfp4"][1], [6, -4, 2, 4, 0, 1])
  np.testing.assert_array_equal(rounded["nvfp4"][2], [6, -4, 0, 0, 0, 0])


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_values_and_codes_bit_by_bit(precision):
  """In float32 except for NVFP4's scale per tensor, which the reference has in float64."""
  with jax.enable_x64(precision == "float64"):
    for name in ("gauss64", "outlier64", "zeros64", "tiny64", "huge64", "powers"):
      x, expected = np.asarray(CASES[name]["inputs"]["x"], precision), CASES[name]["outputs"]
      for kind, rounded in ALL(x).items():
        if precision == "float64" or kind != "nvfp4_per_tensor":
          rounded, reference = np.asarray(rounded, np.float64), np.asarray(expected[kind])
          np.testing.assert_array_equal(rounded, reference, err_msg=f"{name} {kind}")
          np.testing.assert_array_equal(np.signbit(rounded), np.signbit(reference), err_msg=f"{name} {kind}")


def test_all_bits_are_read_and_written():
  """Every scale of a group decodes to its value, and what was rounded is written in the same bits again."""
  bits = np.arange(255)
  elements = np.tile(np.arange(16), (255, 4))
  codes = number_formats.HiFloat4(*(jnp.asarray(a)[None] for a in (bits, bits, 257 * bits, elements)))
  values = np.asarray(hifloat4_decode(codes, width=255 * 64)).reshape(255, 64)
  scale = 2.0 ** (bits // 4 - 48) * (1 + bits % 4 / 4)
  doubled = [[(b >> (7 - i // 8) & 1) + (257 * b >> (15 - i // 4) & 1) for i in range(64)] for b in bits]
  signs = np.where(elements >= 8, -1, 1)
  np.testing.assert_array_equal(values, scale[:, None] * 2.0 ** np.array(doubled) * signs * (elements % 8) / 4)
  again = hifloat4_encode(values[1:, :64])
  np.testing.assert_array_equal(hifloat4_decode(again, width=64), hifloat4(values[1:]))


def test_errors_on_gaussian_data():
  errors = {name: float(jnp.square(rounded - GAUSS).mean()) for name, rounded in ALL(GAUSS).items()}
  ratios = np.array([errors["nvfp4"], errors["mxfp4"]]) / errors["hif4"]
  np.testing.assert_allclose(ratios, [1.32, 1.89], rtol=0.03)  # the paper's


def test_a_transform_helps_where_many_values_share_a_scale():
  x, signs = (jnp.asarray(CASES["rht64_outlier"]["inputs"][name], jnp.float32) for name in ("x", "signs"))
  rotated = ALL(random_hadamard(x, signs))
  turned_back = {name: random_hadamard(y, signs, inverse=True) for name, y in rotated.items()}
  error = lambda rounded, name: float(jnp.square(rounded[name] - x).mean())
  plain = ALL(x)
  for name, before, after in (("hif4", 0.604, 0.116), ("nvfp4", 0.183, 0.812), ("mxfp4", 2.649, 0.365)):
    np.testing.assert_allclose([error(plain, name), error(turned_back, name)], [before, after], rtol=5e-3)


def test_signs_powers_of_two_and_padding():
  x = GAUSS[:4]
  plain, scaled, wide = ALL(x), ALL(-(2.0**5) * x), ALL(x[:, :50])
  for name, rounded in plain.items():
    np.testing.assert_array_equal(scaled[name], -(2.0**5) * rounded, err_msg=name)
  zeros = ALL(x.at[:, 50:].set(0))
  for name, rounded in wide.items():
    np.testing.assert_array_equal(rounded, zeros[name][:, :50], err_msg=name)


def test_rounding_is_monotone_and_bounded():
  """Within one group, whose largest value is fixed: sorted values stay sorted, none is off by more than a step."""
  x = jnp.sort(jnp.concatenate([GAUSS[0, :15], jnp.array([6.0])]))
  for name, rounded in ALL(x).items():
    if name != "hif4":  # its groups of 4 and 8 have units of their own
      assert (jnp.diff(rounded) >= 0).all(), name
    assert jnp.abs(rounded - x).max() <= 1, name


def test_zeros_stay_and_gradients_pass():
  for quantize in FORMATS.values():
    value, gradient = jax.value_and_grad(lambda x, q=quantize: (q(x) * jnp.arange(3.0)).sum())(jnp.zeros(3))
    assert value == 0
    np.testing.assert_array_equal(gradient, [0, 1, 2])


def test_stochastic_rounding_is_right_on_average():
  x = jnp.array([6.0, 4.5, -2.2, 1.3, 0.1])
  uniforms = (jnp.arange(1000)[:, None] + jnp.array([0.5])) / 1000
  rounded = mxfp4(jnp.broadcast_to(x, (1000, 5)), jnp.broadcast_to(uniforms, (1000, 5)))
  np.testing.assert_allclose(rounded.mean(axis=0), x, atol=1e-3)
  assert {*np.unique(rounded[:, 1]).tolist()} == {4, 6}


def test_a_linear_layer_sums_rounded_values_three_times():
  rng = np.random.default_rng(1)
  x, weight, gradient = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((5, 70), (6, 70), (5, 6)))
  signs = jnp.asarray(rng.choice([-1, 1], 64), jnp.float32)

  def products(quantize, **options):
    layer = lambda x, w: number_formats.quantized_linear(x, w, signs, quantize=quantize, **options)
    y, vjp = jax.vjp(layer, x, weight)
    q = quantize
    return (y, *vjp(gradient)), (q(x) @ q(weight).T, q(gradient) @ q(weight.T).T, q(gradient.T) @ q(x.T).T)

  # Without rounding the three transforms cancel.
  cases = (lambda x: x, number_formats.PRODUCTS), (mxfp4, ())
  for found, expected in quick_jit(lambda: [products(q, rotated=rotated) for q, rotated in cases])():
    for a, b in zip(found, expected, strict=True):
      np.testing.assert_allclose(a, b, atol=2e-5)


def test_the_smallest_scales_and_nothing_at_all():
  """2^-127, MXFP4's smallest scale, is no normal number, but multiples of it are."""
  tiny = jnp.array([6 * 2.0**-127, -2 * 2.0**-127, 0.0])
  np.testing.assert_array_equal(mxfp4(tiny), tiny)
  for shape in ((2, 0), (0, 3)):
    rounded = jax.eval_shape(lambda x: {name: quantize(x) for name, quantize in FORMATS.items()}, jnp.zeros(shape))
    assert {x.shape for x in rounded.values()} == {shape}


def test_wrong_calls_say_what_to_do():
  with pytest.raises(ValueError, match="hifloat4_decode: 1 groups of 64 values are too few for width 65"):
    hifloat4_decode(hifloat4_encode(jnp.ones(64)), width=65)
  with pytest.raises(ValueError, match="unknown scaling 'ceil'; known: floor, truncation_free"):
    mxfp4(jnp.ones(3), scaling="ceil")
  with pytest.raises(ValueError, match=r"expected x \[\*N D\] and weight \[O D\], got \(2, 3\) and \(4, 5\)"):
    number_formats.quantized_linear(jnp.ones((2, 3)), jnp.ones((4, 5)), jnp.ones(64))
  with pytest.raises(ValueError, match="unknown rotated 'backward'"):
    number_formats.quantized_linear(jnp.ones((2, 3)), jnp.ones((4, 3)), jnp.ones(64), rotated=("backward",))


SIZES = {"D": 5, "O": 3, "P": 4}
SIGNS = {"signs": lambda rng, shape: rng.choice([-1, 1], shape).astype(np.float32)}


def _codes(x):
  return hifloat4_decode(hifloat4_encode(x), width=x.shape[-1])


KERNELS = [
  Kernel(hifloat4_encode, {"x": "BD"}, mask=None, sizes=SIZES),
  Kernel(_codes, {"x": "BD"}, mask=None, public=hifloat4_decode, sizes=SIZES),
  Kernel(hifloat4, {"x": "BD"}, mask=None, gradients=("x",), sizes=SIZES),
  Kernel(mxfp4, {"x": "BD"}, mask=None, gradients=("x",), sizes=SIZES),
  Kernel(nvfp4, {"x": "BD"}, mask=None, gradients=("x",), sizes=SIZES),
  Kernel(
    number_formats.quantized_linear,
    {"x": "BD", "weight": "OD", "signs": "P"},
    mask=None,
    moves="BT",
    gradients=("x", "weight"),
    draws=SIGNS,
    sizes=SIZES,
  ),
]
