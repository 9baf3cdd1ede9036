"""Four-bit block formats, emulated: values that share a scale along the last axis, rounded and returned as floats.

HiFloat4 (arXiv 2604.08826; format 2602.11287), and its baselines MXFP4 and NVFP4. Input is finite and of any width: the
last group of an axis is padded with zeros, which are dropped again. Gradients pass straight through, also where values
saturate. A row's result depends on no other row, except with NVFP4's scale per tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import known_option
from rl_jax.kernels._log_ratios import straight_through
from rl_jax.kernels.layers.hadamard import random_hadamard
from rl_jax.kernels.reductions import widen

LARGEST = 49152.0
"""HiFloat4's largest scale, 1.5 * 2^15; the smallest is 2^-48."""
SEVENTH = 0.142578125
"""1/7 in bfloat16."""


class HiFloat4(NamedTuple):
  """Groups of 64 values in 36 bytes each, field by field."""

  scales: Int[Array, "*N G"]
  """Bits of the scale, E6M2: exponent + 48 in six bits, mantissa in two; 0xFF, which is NaN, is never written."""
  level2: Int[Array, "*N G"]
  """One bit for each eight values, the first in the highest of 8 bits; if set, their unit is doubled."""
  level3: Int[Array, "*N G"]
  """One bit for each four values, the first in the highest of 16 bits; if set, their unit is doubled."""
  elements: Int[Array, "*N G 64"]
  """Sign in the highest of four bits, then the magnitude in quarters of the unit."""


def _groups(x, size):
  """x in groups along its last axis, padded with zeros."""
  fill = -x.shape[-1] % size
  x = jnp.pad(widen(x), [(0, 0)] * (x.ndim - 1) + [(0, fill)])
  return x.reshape(*x.shape[:-1], x.shape[-1] // size, size)


def _ungroup(groups, width):
  return groups.reshape(*groups.shape[:-2], groups.shape[-2] * groups.shape[-1])[..., :width]


def _round_bits(x, bits):
  """x rounded to `bits` significant bits, half to even."""
  return jax.lax.reduce_precision(x, jnp.finfo(x.dtype).nexp, bits - 1)


def _power(exponent, dtype):
  """2^exponent for the exponents of normal numbers, from its bits: exact, and cheaper than `ldexp` of every value."""
  info = jnp.finfo(dtype)
  bits = (exponent.astype(f"int{info.bits}") + (info.maxexp - 1)) << info.nmant
  return jax.lax.bitcast_convert_type(bits, dtype)


def _packed(bits):
  """Bits along the last axis as one number, the first highest."""
  return (bits << jnp.arange(bits.shape[-1])[::-1]).sum(axis=-1, dtype=jnp.int32)


def _unpacked(number, count):
  return (number[..., None] >> jnp.arange(count)[::-1]) & 1


def hifloat4_encode(x: Float[Array, "*N D"]) -> HiFloat4:
  """Bits of x in HiFloat4: a scale for 64 values, a bit for each 8 and for each 4 of them, sign and magnitude of each.

  arXiv 2604.08826, bit by bit as in its reference code. S = E6M2(bf16(max |x| bf16(1/7))) clipped to 2^-48 .. 49152,
  r = bf16(1 / S). A level 2 bit is set if r max |x| of its 8 values is at least 4, a level 3 bit if r max |x| of its 4
  values, in their level 2 unit, is at least 2. A magnitude is rounded to quarters of the unit
  S 2^(level 2 + level 3), half away from zero, and is at most 7/4 of it. The scale is rounded half to even. A negative
  value that rounds to 0 keeps its sign. A group of zeros has scale 2^-48; |x| above 344064 saturates.

  >>> codes = hifloat4_encode(jnp.full(64, 7.0))
  >>> print(codes.scales, codes.level2, codes.level3, codes.elements[0, 0])
  [192] [255] [65535] 7
  """
  groups = _groups(jax.lax.stop_gradient(x), 64)
  scale, level2, level3, _, quarters = _hifloat4(groups)
  mantissa, exponent = jnp.frexp(scale[..., 0])
  codes = ((exponent + 47) << 2) | (jnp.ldexp(mantissa, 3).astype(jnp.int32) & 3)
  elements = ((groups < 0).astype(jnp.int32) << 3) | quarters
  return HiFloat4(codes.astype(jnp.int32), _packed(level2), _packed(level3), elements)


def _hifloat4(groups):
  """Scale of each group, its bits of both levels, doublings of each value's unit, and magnitudes in quarter units."""
  magnitudes = jnp.abs(groups)
  largest = lambda size: magnitudes.reshape(*magnitudes.shape[:-1], 64 // size, size).max(axis=-1)
  scale = _round_bits(jnp.clip(_round_bits(largest(64) * SEVENTH, 8), 2.0**-48, LARGEST), 3)
  reciprocal = _round_bits(1 / scale, 8)
  level2 = (largest(8) * reciprocal >= 4).astype(jnp.int32)
  level3 = (largest(4) * reciprocal >= 2 << jnp.repeat(level2, 2, axis=-1)).astype(jnp.int32)
  doubled = jnp.repeat(level2, 8, axis=-1) + jnp.repeat(level3, 4, axis=-1)
  quarters = jnp.minimum(jnp.floor(magnitudes * reciprocal * (4 >> doubled) + 0.5), 7).astype(jnp.int32)
  return scale, level2, level3, doubled, quarters


def hifloat4_decode(codes: HiFloat4, *, width: int) -> Float[Array, "*N D"]:
  """The first `width` values that the bits represent: sign S 2^(level 2 + level 3) magnitude / 4.

  arXiv 2604.08826. Exact, in JAX's default float.

  >>> print(hifloat4_decode(hifloat4_encode(jnp.array([7.0, -3.3, 0.1])), width=3))
  [ 7. -3.  0.]
  """
  if width > 64 * codes.scales.shape[-1]:
    raise ValueError(f"hifloat4_decode: {codes.scales.shape[-1]} groups of 64 values are too few for width {width}")
  bits = jnp.repeat(_unpacked(codes.level2, 8), 8, axis=-1) + jnp.repeat(_unpacked(codes.level3, 16), 4, axis=-1)
  dtype = jnp.result_type(float)
  # The mantissa is in quarters, and so is the magnitude.
  quarter = (4 + (codes.scales & 3)).astype(dtype) * _power((codes.scales >> 2) - 52, dtype)
  values = ((codes.elements & 7) << bits).astype(dtype) * quarter[..., None]
  return _ungroup(jnp.where(codes.elements >= 8, -values, values), width)


def hifloat4(x: Float[Array, "*N D"]) -> Float[Array, "*N D"]:
  """x rounded to HiFloat4, 4.5 bits per value: `hifloat4_decode` of `hifloat4_encode`.

  arXiv 2604.08826. Meant for all three products of a linear layer, with a random Hadamard transform and without a scale
  per tensor or stochastic rounding. One large outlier costs its 63 neighbours more precision than NVFP4's 15.

  >>> print(hifloat4(jnp.array([7.0, -3.3, 0.1])))
  [ 7. -3.  0.]
  """
  groups = _groups(jax.lax.stop_gradient(x), 64)
  scale, _, _, doubled, quarters = _hifloat4(groups)
  values = (quarters << doubled) * (scale / 4)
  return straight_through(_ungroup(jnp.where(groups < 0, -values, values), x.shape[-1]), widen(x))


def _e2m1(magnitudes, uniforms=None):
  """The nearest of 0, 0.5, 1, 1.5, 2, 3, 4, 6, half to even; with `uniforms`, rounded stochastically."""
  low, high = magnitudes < 2, magnitudes >= 4
  scaled = magnitudes * jnp.where(low, 2, jnp.where(high, 0.5, 1))
  whole = jnp.round(scaled) if uniforms is None else jnp.floor(scaled + uniforms)
  return jnp.minimum(whole * jnp.where(low, 0.5, jnp.where(high, 2, 1)), 6)


def mxfp4(
  x: Float[Array, "*N D"], uniforms: Float[Array, "*N D"] | None = None, *, scaling: str = "floor"
) -> Float[Array, "*N D"]:
  """x rounded to MXFP4: 32 values share a power of two; each has a sign and an E2M1 (0, 0.5, 1, 1.5, 2, 3, 4, 6).

  The baseline of arXiv 2604.08826. `scaling`: "floor", 2^(floor log2 max|x| - 2), with which up to a quarter of the
  range saturates; "truncation_free", 2^ceil(log2(max|x| / 6)). The scale is at least 2^-127. `uniforms` in [0, 1), of
  x's shape, make rounding stochastic with mean x (the form is ours); without them it is half to even.

  >>> print(mxfp4(jnp.array([7.0, -3.3, 0.1])), mxfp4(jnp.array([7.0, -3.3, 0.1]), scaling="truncation_free"))
  [ 6. -3.  0.] [ 8. -3.  0.]
  """
  known_option("mxfp4", "scaling", scaling, ("floor", "truncation_free"))
  groups = _groups(jax.lax.stop_gradient(x), 32)
  largest = jnp.abs(groups).max(axis=-1, keepdims=True)
  mantissa, exponent = jnp.frexp(largest)
  # max|x| = m 2^e with m from 1/2 to 1, and 6 = 0.75 * 2^3.
  shift = exponent - 3 if scaling == "floor" else exponent - 3 + (mantissa > 0.75)
  shift = jnp.maximum(shift, -127)
  noise = None if uniforms is None else _groups(uniforms, 32)
  half = shift // 2  # 2^-127 is not a normal number
  rounded = _e2m1(jnp.abs(groups) * _power(-shift, groups.dtype), noise)
  rounded = rounded * _power(half, groups.dtype) * _power(shift - half, groups.dtype)
  return straight_through(_ungroup(jnp.where(groups < 0, -rounded, rounded), x.shape[-1]), widen(x))


def nvfp4(x: Float[Array, "*N D"], *, per_tensor: bool = False) -> Float[Array, "*N D"]:
  """x rounded to NVFP4: 16 values share a scale E4M3(max|x| / 6); each has a sign and an E2M1 of x over the scale.

  The baseline of arXiv 2604.08826, rounded half to even. The scale is at most 448 and a multiple of 2^-9, so tiny
  groups become 0. `per_tensor` first divides by max|x| / 2688 of the whole array, so that the range suffices.

  >>> print(nvfp4(jnp.array([6.0, -3.3, 0.1])))
  [ 6. -3.  0.]
  """
  values = jax.lax.stop_gradient(widen(x))
  if per_tensor:
    largest = jnp.abs(values).max(initial=0)
    # Not a division by a constant: XLA turns it into a product with the rounded reciprocal.
    tensor = jnp.where(largest > 0, largest / jnp.where(largest > 0, 2688, 1), 1).astype(values.dtype)
    return straight_through(nvfp4(values / tensor) * tensor, widen(x))
  groups = _groups(values, 16)
  largest = jnp.abs(groups).max(axis=-1, keepdims=True)
  mantissa, exponent = jnp.frexp(largest)
  # The exponent of max|x| / 6, with three bits below it; dividing by 6 times a power of two is exact at ties.
  unit = jnp.maximum(exponent - 4 + (mantissa >= 0.75), -6) - 3
  steps = jnp.round(largest / jnp.ldexp(jnp.full_like(largest, 6), unit))
  scale = jnp.minimum(jnp.ldexp(steps, unit), 448)
  rounded = _e2m1(jnp.abs(groups) / jnp.where(scale > 0, scale, 1)) * scale
  rounded = jnp.where((groups < 0) & (scale > 0), -rounded, rounded)
  return straight_through(_ungroup(rounded, x.shape[-1]), widen(x))


PRODUCTS = ("forward", "input_gradient", "weight_gradient")


def quantized_linear(
  x: Float[Array, "*N D"],
  weight: Float[Array, "O D"],
  signs: Num[Array, " block"],
  *,
  quantize: Callable[[Array], Array] = hifloat4,
  rotated: tuple[str, ...] = ("weight_gradient",),
) -> Float[Array, "*N O"]:
  """y = Q(x) Q(W)^T, and in the backward pass dx = Q(g) Q(W), dW = Q(g)^T Q(x), quantized along the summed axis.

  arXiv 2604.08826, all three products of a linear layer in four bits; sums and master weights are floats. `rotated`
  names the products, among "forward", "input_gradient" and "weight_gradient", whose operands first go through
  `random_hadamard`, which cancels except for the rounding. The default, only the weight gradient, is inferred from
  NVIDIA's recipe for NVFP4. `quantize` is a format of this file, or any function along the last axis. The weight
  gradient has blocks of rows, so over a mesh [N, D] and [N, O] move between devices.

  >>> x, weight, signs = jnp.array([[7.0, -3.3]]), 7 * jnp.eye(2), jnp.ones(64)
  >>> print(quantized_linear(x, weight, signs))
  [[ 49. -21.]]
  """
  for name in rotated:
    known_option("quantized_linear", "rotated", name, PRODUCTS)
  if weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
    raise ValueError(f"quantized_linear: expected x [*N D] and weight [O D], got {x.shape} and {weight.shape}")
  y = _linear(quantize, rotated, widen(x).reshape(-1, x.shape[-1]), widen(weight), widen(signs))
  return y.reshape(*x.shape[:-1], weight.shape[0])


def _product(quantize, rotate, left, right, signs):
  """Q(left) Q(right)^T along the last axis of both; zeros pad the blocks of the transform."""
  if rotate:
    fill = -left.shape[-1] % signs.shape[0]
    left, right = (random_hadamard(jnp.pad(x, ((0, 0), (0, fill))), signs) for x in (left, right))
  return quantize(left) @ quantize(right).T


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _linear(quantize, rotated, x, weight, signs):
  return _product(quantize, "forward" in rotated, x, weight, signs)


def _linear_forward(quantize, rotated, x, weight, signs):
  return _linear(quantize, rotated, x, weight, signs), (x, weight, signs)


def _linear_backward(quantize, rotated, residuals, gradient):
  x, weight, signs = residuals
  product = lambda name, *operands: _product(quantize, name in rotated, *operands, signs)
  d_x = product("input_gradient", gradient, weight.T)
  return d_x, product("weight_gradient", gradient.T, x.T), None


_linear.defvjp(_linear_forward, _linear_backward)
