"""Operations and bytes of kernels, by hand; those of whole compiled programs are in test_hlo.py."""

from __future__ import annotations

import numpy as np
import pytest

from rl_jax.planning import costs
from rl_jax.planning.costs import _meetings
from rl_jax.planning.hlo import Program


def program(*lines: str, kernels: str = "") -> Program:
  body = "\n".join(f"  {line}" for line in lines)
  return Program(f"HloModule jit_f\n{kernels}\nENTRY %main (x: f32[8,4]) -> f32[8,4] {{\n{body}\n}}\n")


X, W = "%x = f32[8,4]{1,0} parameter(0)", "%w = f32[4,16]{1,0} parameter(1)"


def test_products_by_hand():
  plain = "%y = f32[8,16]{1,0} dot(%x, %w), lhs_contracting_dims={1}, rhs_contracting_dims={0}"
  as_convolution = "%y = f32[8,16]{1,0} convolution(%x, %w), dim_labels=bf_io->bf"
  for line in (plain, as_convolution):
    assert costs.flops(program(X, W, line)) == 2 * 8 * 4 * 16


def test_a_batch_of_products_as_a_dilated_convolution():
  """How XLA for TPU writes 16 x 2 products [40, 128] x [128, 10]: few places of the window meet an input."""
  lines = (
    "%q = f32[16,2,40,128]{3,2,1,0} parameter(0)",
    "%k = f32[16,2,128,10]{3,2,1,0} parameter(1)",
    "%s = f32[16,2,40,10]{3,2,1,0} convolution(%q, %k), window={size=16x2 stride=15x1 lhs_dilate=16x2}, "
    "dim_labels=01bf_01io->01bf",
  )
  assert costs.flops(program(*lines)) == 16 * 2 * 2 * 40 * 128 * 10


@pytest.mark.parametrize(
  "case", [(5, 3, 3, 1, 0, 1, 1), (5, 3, 5, 1, 1, 1, 1), (4, 2, 4, 3, 0, 4, 1), (7, 3, 3, 2, 1, 1, 2)]
)
def test_meetings_of_window_and_input(case):
  inputs, kernel, outputs, stride, pad, dilated, spread = case
  row = np.zeros((inputs - 1) * dilated + 1)
  row[::dilated] = 1
  padded = np.pad(row, (pad, outputs * stride + kernel * spread))
  expected = sum(padded[o * stride + k * spread] for o in range(outputs) for k in range(kernel))
  assert _meetings(*case) == expected


def test_memory_on_the_chip_is_not_main_memory():
  line = "%y = f32[8,4]{1,0:T(8,128)S(1)} negate(%x)"
  assert costs.memory_bytes(program(X, line)) == 128
  assert costs.memory_bytes(program(X, line.replace("S(1)", ""))) == 256


SLICED = """
%within (p: f32[100,4], i: s32[]) -> f32[1,4] {
  %p = f32[100,4]{1,0} parameter(0)
  %i = s32[] parameter(1)
  ROOT %part = f32[1,4]{1,0} dynamic-slice(%p, %i), dynamic_slice_sizes={1,4}
}

%sliced (a: f32[100,4], j: s32[]) -> f32[1,4] {
  %a = f32[100,4]{1,0} parameter(0)
  %j = s32[] parameter(1)
  %one = f32[1,4]{1,0} fusion(%a, %j), kind=kLoop, calls=%within
  ROOT %negative = f32[1,4]{1,0} negate(%one)
}

%updated (b: f32[100,4], c: f32[1,4], k: s32[]) -> f32[100,4] {
  %b = f32[100,4]{1,0} parameter(0)
  %c = f32[1,4]{1,0} parameter(1)
  %k = s32[] parameter(2)
  ROOT %new = f32[100,4]{1,0} dynamic-update-slice(%b, %c, %k)
}
"""


def test_kernels_that_touch_a_slice():
  """A slice of 16 bytes read (in a kernel within the kernel) and written; one read and written in place."""
  big, at = "%big = f32[100,4]{1,0} parameter(0)", "%at = s32[] parameter(1)"
  taken = "%s = f32[1,4]{1,0} fusion(%big, %at), kind=kLoop, calls=%sliced"
  put = "%u = f32[100,4]{1,0} fusion(%big, %s, %at), kind=kLoop, calls=%updated"
  index = 4
  assert costs.memory_bytes(program(big, at, taken, kernels=SLICED)) == 16 + 16 + index
  assert costs.memory_bytes(program(big, at, taken, put, kernels=SLICED)) == 2 * (16 + 16 + index)
