"""HiFloat4, MXFP4 and NVFP4; `tests/kernels/layers/test_number_formats.py` compares values and codes bit by bit."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp

from rl_jax.kernels.layers import hadamard, number_formats
from tests.kernels.kernel import quick_jit

FORMATS = {
  "hif4": number_formats.hifloat4,
  "mxfp4": number_formats.mxfp4,
  "mxfp4_truncation_free": partial(number_formats.mxfp4, scaling="truncation_free"),
  "nvfp4": number_formats.nvfp4,
  "nvfp4_per_tensor": partial(number_formats.nvfp4, per_tensor=True),
}


def _error(rounded, x):
  return jnp.square(rounded - x).mean()


@quick_jit
def _formats(x):
  rounded = {name: quantize(x) for name, quantize in FORMATS.items()}
  codes = number_formats.hifloat4_encode(x)
  one = codes._replace(elements=jnp.full_like(codes.elements, 4), level2=0 * codes.level2, level3=0 * codes.level3)
  fields = {
    "scale": number_formats.hifloat4_decode(one, width=1)[0],
    "scale_code": codes.scales[0],
    "level2_bits": codes.level2[0],
    "level3_bits": codes.level3[0],
    "nibbles": codes.elements[0],
  }
  return rounded | {"mse": {name: _error(y, x) for name, y in rounded.items()}, "hif4_codes": fields}


@quick_jit
def _rotated(x, signs):
  y = hadamard.random_hadamard(x, signs)
  back = partial(hadamard.random_hadamard, signs=signs, inverse=True)
  return {
    "y": y,
    "max_roundtrip_error": jnp.abs(back(y) - x).max(),
    "mse_hif4_plain": _error(number_formats.hifloat4(x), x),
    "mse_hif4_rht": _error(back(number_formats.hifloat4(y)), x),
  }


def compute(case, inputs):
  if case == "rht64_outlier":
    return _rotated(**inputs)
  outputs = _formats(**inputs)
  if case == "ragged70":  # the reference has codes of single groups
    del outputs["hif4_codes"]
  return outputs
