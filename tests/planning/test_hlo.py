"""How often a computation runs, and what it reads, by hand on small programs and on compiled ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from rl_jax.planning import costs
from rl_jax.planning.collectives import Collective, collectives
from rl_jax.planning.hlo import Program, arrays_of

LOOPS = """HloModule jit_f, is_scheduled=true, num_partitions=8

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%inner_condition (p: (s32[], f32[8,4])) -> pred[] {
  %p = (s32[]{:T(128)}, f32[8,4]{1,0:T(8,128)}) parameter(0)
  %five = s32[]{:T(128)} constant(5)
  %ended = pred[]{:T(512)} constant(false)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  %less = pred[]{:T(512)} compare(%i, %five), direction=LT
  %not = pred[]{:T(512)} not(%ended)
  ROOT %and = pred[]{:T(512)} and(%not, %less)
}

%inner_body (q: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %q = (s32[]{:T(128)}, f32[8,4]{1,0:T(8,128)}) parameter(0)
  %j = s32[]{:T(128)} get-tuple-element(%q), index=0
  %x = f32[8,4]{1,0:T(8,128)} get-tuple-element(%q), index=1
  %summed = f32[8,4]{1,0:T(8,128)} all-reduce(%x), channel_id=1, replica_groups=[2,4]<=[8], to_apply=%add
  ROOT %t = (s32[]{:T(128)}, f32[8,4]{1,0:T(8,128)}) tuple(%j, %summed)
}

%compared (u: s32[], v: s32[]) -> pred[] {
  %u = s32[] parameter(0)
  %v = s32[] parameter(1)
  ROOT %c = pred[] compare(%u, %v), direction=LT
}

%outer_condition (r: (s32[], f32[8,4])) -> pred[] {
  %r = (s32[], f32[8,4]{1,0}) parameter(0)
  %three = s32[] constant(3)
  %k = s32[] get-tuple-element(%r), index=0
  ROOT %fused = pred[] fusion(%k, %three), kind=kLoop, calls=%compared
}

%outer_body (s: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %s = (s32[], f32[8,4]{1,0}) parameter(0)
  ROOT %inner = (s32[], f32[8,4]{1,0}) while(%s), condition=%inner_condition, body=%inner_body
}

%data (d: (s32[], f32[8,4])) -> pred[] {
  %d = (s32[], f32[8,4]{1,0}) parameter(0)
  ROOT %flag = pred[] constant(true)
}

ENTRY %main (x0: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %x0 = (s32[], f32[8,4]{1,0}) parameter(0)
  %outer = (s32[], f32[8,4]{1,0}) while(%x0), condition=%outer_condition, body=%outer_body
  %known = (s32[], f32[8,4]) while(%outer), condition=%data, body=%inner_body, config={"known_trip_count":{"n":"2"}}
  ROOT %last = (s32[], f32[8,4]{1,0}) while(%known), condition=%data, body=%inner_body
}
"""

CHAIN = """HloModule jit_g, num_partitions=8

%c (a: f32[2,4], b: f32[16,4]) -> (f32[2,4], f32[16,4]) {
  %a = f32[2,4]{1,0} parameter(0)
  %b = f32[16,4]{1,0} parameter(1)
  %g1 = f32[16,4]{1,0} all-gather(%a), channel_id=7, replica_groups={}, frontend_attributes={chain_id="0"}
  ROOT %t1 = (f32[2,4]{1,0}, f32[16,4]{1,0}) tuple(%a, %b)
}

%condition (p: s32[]) -> pred[] {
  %p = s32[] parameter(0)
  %n = s32[] constant(9)
  ROOT %less = pred[] compare(%p, %n), direction=LT
}

%body (q: (f32[2,4], f32[16,4])) -> (f32[2,4], f32[16,4]) {
  %q = (f32[2,4]{1,0}, f32[16,4]{1,0}) parameter(0)
  %qa = f32[2,4]{1,0} get-tuple-element(%q), index=0
  %qb = f32[16,4]{1,0} get-tuple-element(%q), index=1
  ROOT %s = (f32[2,4], f32[16,4]) fusion(%qa, %qb), output_to_operand_aliasing={{0}: (0, {}), {1}: (1, {})}, calls=%c
}

%started (x0: f32[2,4]) -> (f32[2,4], f32[16,4]) {
  %x0 = f32[2,4]{1,0} parameter(0)
  %g0 = f32[16,4]{1,0} all-gather(%x0), channel_id=7, replica_groups={}, frontend_attributes={chain_id="0"}
  ROOT %t0 = (f32[2,4]{1,0}, f32[16,4]{1,0}) tuple(%x0, %g0)
}

ENTRY %main (x: f32[2,4]) -> (f32[2,4], f32[16,4]) {
  %x = f32[2,4]{1,0} parameter(0)
  %async-collective-start = (f32[2,4]{1,0}, f32[16,4]{1,0}) fusion(%x), kind=kCustom, calls=%started
  ROOT %loop = (f32[2,4]{1,0}, f32[16,4]{1,0}) while(%async-collective-start), condition=%condition, body=%body
}
"""


def test_turns_of_loops_by_hand():
  """3 x 5 by comparisons (one in a fusion), 2 by what XLA says, 1 of the loop that ends by data."""
  program = Program(LOOPS)
  assert program.devices == 8
  assert program.times["inner_body"] == 3 * 5 + 2 + 1 and program.times["outer_body"] == 3
  assert program.uncounted == 1


def test_bytes_of_a_collective_in_loops_by_hand():
  """An all-reduce of 8 x 4 numbers in groups of 4 sends 2 * 128 B * 3/4, 18 times."""
  assert collectives(Program(LOOPS)) == [Collective("all-reduce", 4, 18.0, 18 * 192.0)]


def test_a_collective_that_kernels_carry_through_a_loop_counts_once():
  """7 shards of 2 x 4 numbers; read and written once, the loop's 9 turns hand it on (and compare two numbers)."""
  program = Program(CHAIN)
  assert program.times["body"] == 9
  assert collectives(program) == [Collective("all-gather", 8, 1.0, 7 * 32.0)]
  assert costs.memory_bytes(program) == 32 + 256 + 9 * (4 + 4 + 1)


def test_arrays_of_a_shape():
  found = arrays_of("(bf16[16,2]{1,0:T(8,128)(2,1)S(1)}, /*index=1*/s32[]{:T(128)}, pred[3]{0}, f8e4m3fn[5]{0})")
  assert [(a.dtype, a.dims, a.space) for a in found[:3]] == [("bf16", (16, 2), 1), ("s32", (), 0), ("pred", (3,), 0)]
  assert [a.bytes for a in found] == [64, 4, 3, 5]


@pytest.mark.parametrize("loop", ["scan", "while"])
def test_products_in_a_compiled_loop(loop):
  """7 products [16, 32] x [32, 32], and one of [16, 32] x [32, 8] after them, whatever the loop is made of."""

  def f(x, w, v):
    if loop == "scan":
      x, _ = jax.lax.scan(lambda x, _: (jnp.sin(x @ w), None), x, None, length=7)
    else:
      more = lambda state: (state[0] < 7) & (state[1][0, 0] < 1e9)
      _, x = jax.lax.while_loop(more, lambda state: (state[0] + 1, jnp.sin(state[1] @ w)), (0, x))
    return x @ v

  shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((16, 32), (32, 32), (32, 8))]
  program = Program(jax.jit(f).lower(*shapes).compile().as_text())
  assert costs.flops(program) == 2 * (7 * 16 * 32 * 32 + 16 * 32 * 8)
  assert program.uncounted == 0 and collectives(program) == []
