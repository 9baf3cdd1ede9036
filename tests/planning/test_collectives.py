"""Bytes that a chip sends, by hand, for every kind and every form in which groups are printed."""

from __future__ import annotations

import pytest

from rl_jax.errors import UserError
from rl_jax.planning.collectives import collectives
from rl_jax.planning.hlo import Program

ENTRY = """HloModule jit_f, num_partitions=16

ENTRY %main (x: f32[8,4]) -> f32[8,4] {{
  %x = f32[8,4]{{1,0}} parameter(0)
  ROOT %y = {line}
}}
"""


@pytest.mark.parametrize(
  "line, kind, group, sent",
  [
    ("f32[32,4]{1,0} all-gather(%x), replica_groups=[4,4]<=[16], dimensions={0}", "all-gather", 4, 3 * 128),
    ("(f32[8,4]{1,0}, f32[32,4]{1,0}) all-gather-start(%x), replica_groups=[4,4]<=[16]", "all-gather", 4, 3 * 128),
    ("f32[8,4]{1,0} all-reduce(%x), replica_groups={{0,2},{1,3}}, to_apply=%add", "all-reduce", 2, 128),
    ("f32[2,4]{1,0} reduce-scatter(%x), replica_groups={{0,1,2,3}}, to_apply=%add", "reduce-scatter", 4, 96),
    ("f32[8,4]{1,0} all-to-all(%x), replica_groups=mesh['a'=2,'b'=8] {'b'}", "all-to-all", 8, 112),
    ("f32[8,4]{1,0} all-to-all(%x), replica_groups=mesh['a'=2,'b'=8] {'a','b':(2)4}", "all-to-all", 8, 112),
    ("f32[8,4]{1,0} collective-permute(%x), source_target_pairs={{0,1},{1,2},{2,0}}", "collective-permute", 2, 128),
    (
      "f32[32,4]{1,0} all-gather(%x), replica_groups=mesh['a'=4,'b'=1,'c'=4], device_ids=([4,4]T(1,0)) {'a'}",
      "all-gather",
      4,
      3 * 128,
    ),
    ("f32[8,4]{1,0} all-reduce(%x), replica_groups={}, to_apply=%add", "all-reduce", 16, 2 * 128 * 15 / 16),
  ],
)
def test_bytes_by_hand(line, kind, group, sent):
  """An operand of 8 x 4 numbers of 4 bytes: 128."""
  (found,) = collectives(Program(ENTRY.format(line=line)))
  assert (found.kind, found.group, found.times, found.bytes) == (kind, group, 1, sent)


def test_groups_in_an_unknown_form_are_an_error():
  line = "f32[8,4]{1,0} all-reduce(%x), replica_groups=some<4>, to_apply=%add"
  with pytest.raises(UserError, match=r"in an unknown form, replica_groups=some<4>.*: use another JAX version"):
    collectives(Program(ENTRY.format(line=line)))


def test_a_reduce_scatter_as_tpus_write_it():
  text = """HloModule jit_f, num_partitions=4

%all-reduce-scatter.3 (input: bf16[8,4]) -> bf16[2,4] {
  %input = bf16[8,4]{1,0} parameter(0)
  %sum = bf16[8,4]{1,0} all-reduce(%input), replica_groups={{0,1,2,3}}, to_apply=%add
  ROOT %part = bf16[2,4]{1,0} dynamic-slice(%sum)
}

ENTRY %main (x: bf16[8,4]) -> bf16[2,4] {
  %x = bf16[8,4]{1,0} parameter(0)
  ROOT %y = bf16[2,4]{1,0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.3
}
"""
  (found,) = collectives(Program(text))
  assert (found.kind, found.bytes) == ("reduce-scatter", 48)


def test_a_program_of_one_device_sends_nothing():
  assert collectives(Program(ENTRY.format(line="f32[8,4]{1,0} negate(%x)"))) == []
