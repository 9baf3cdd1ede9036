"""Collectives of a compiled program: kinds, counts, and bytes per chip.

Bytes are those that a chip sends in a ring algorithm, the minimum over all algorithms. With n chips in a group and an
operand of x bytes:

  all-gather (n - 1) x    reduce-scatter, all-to-all x (n - 1) / n    all-reduce 2 x (n - 1) / n    others x

An instruction in a loop counts once per iteration: see `rl_jax.planning.hlo`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from rl_jax.errors import UserError
from rl_jax.planning.hlo import Instruction, Program, operands

_KINDS = (
  "all-gather",
  "all-reduce",
  "reduce-scatter",
  "all-to-all",
  "ragged-all-to-all",
  "collective-permute",
  "collective-broadcast",
)


class Collective(NamedTuple):
  """All collectives of one kind over groups of one size."""

  kind: str
  group: int
  """Number of chips in a group."""
  times: float
  """Number of executions in one run of the program."""
  bytes: float
  """Total bytes sent by each chip."""


def collectives(program: Program) -> list[Collective]:
  """Collectives of a program by kind and group size, largest senders first."""
  totals: dict[tuple[str, int], list[float]] = {}
  for name, instruction, times in instructions(program):
    kind = instruction.opcode.removesuffix("-start")
    # XLA for TPU writes a reduce-scatter as an all-reduce and a slice in one kernel of this name.
    if kind == "all-reduce" and name.startswith("all-reduce-scatter"):
      kind = "reduce-scatter"
    group = group_size(instruction, program.devices)
    size = sum(array.bytes for array in operands(program.computations[name], instruction))
    total = totals.setdefault((kind, group), [0.0, 0.0])
    total[0], total[1] = total[0] + times, total[1] + times * _sent(kind, group, size)
  sums = [Collective(kind, group, *total) for (kind, group), total in totals.items()]
  return sorted(sums, key=lambda collective: -collective.bytes)


def instructions(program: Program) -> Iterator[tuple[str, Instruction, float]]:
  """Each collective of a program once: the name of its computation, the instruction, and its number of executions.

  XLA for TPU may spread a collective over other kernels, even over the iterations of a loop; each of these kernels then
  lists it, with the same channel and chain. It runs as often as the kernel that begins it, outside the loop.
  """
  chains: dict[tuple[str, ...], tuple[str, Instruction, float]] = {}
  for name, times in program.times.items():
    for instruction in program.computations[name].values():
      if instruction.opcode.removesuffix("-start") not in _KINDS:
        continue
      chain = re.search(r"channel_id=(\d+).*chain_id=\"(\d+)\"", instruction.attributes)
      key = chain.groups() if chain else (name, instruction.name)
      if key not in chains or times < chains[key][2]:
        chains[key] = name, instruction, times
  yield from chains.values()


def _sent(kind: str, n: int, size: float) -> float:
  if kind == "all-gather":
    return (n - 1) * size
  if kind in ("reduce-scatter", "all-to-all", "ragged-all-to-all"):
    return size * (n - 1) / n
  if kind == "all-reduce":
    return 2 * size * (n - 1) / n
  return size


def group_size(instruction: Instruction, devices: int) -> int:
  """Number of chips in a group, read from any of the forms that XLA prints: lists, iota, mesh axes. It is 2 for a
  permutation, where each chip sends to one other, and the number of all chips if nothing is printed.

  Raises: UserError: the form is unknown.
  """
  text = instruction.attributes
  listed = re.search(r"replica_groups=\{\{([\d,]+)\}", text)
  if listed:
    return len(listed[1].split(","))
  iota = re.search(r"replica_groups=\[\d+,(\d+)\]<=", text)
  if iota:
    return int(iota[1])
  # The order of devices may be printed between a mesh and the axes of the group.
  axes = re.search(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(\S+\))?\s*\{([^}]*)\}", text)
  if axes:
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", axes[1])}
    # An axis, or a part of one as 'name':(before)size.
    group_axes = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", axes[2])
    return math.prod(int(part) if part else sizes[name] for name, part in group_axes)
  unknown = re.search(r"replica_groups=(?!\{\}).{1,80}", text)
  if unknown:
    raise UserError(f"this compiler prints groups of chips in an unknown form, {unknown[0]}: use another JAX version")
  return 2 if "source_target_pairs=" in text else devices
