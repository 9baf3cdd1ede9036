"""Parser of a compiled program's text: instructions, and the number of executions of each computation.

XLA prints one instruction per line, with its result's shape, its operands by name and its attributes. A fusion, call or
branch runs its computation once (all branches of a conditional count), a while loop once per iteration. The number of
iterations is `known_trip_count` if XLA prints it, and otherwise the smallest number that the loop's condition compares
a counter with, as JAX's loops count from 0 in steps of 1. For a sampler, which also stops when all rows have ended,
this is the maximum. A loop whose end depends only on data counts once.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_HEADER = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*-> .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = (.*?) ([a-z][\w-]*)\((.*)$")
_ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\](?:\{([^}]*)\})?")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_KNOWN = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


class Array(NamedTuple):
  """One array of a shape."""

  dtype: str
  dims: tuple[int, ...]
  space: int
  """Memory space: 0 is the device's main memory (HBM), others are small memories on the chip."""

  @property
  def bytes(self) -> float:
    """Size without padding."""
    bits = re.search(r"\d+", self.dtype)  # the first number, as in f8e4m3; pred has none
    return math.prod(self.dims) * (1.0 if bits is None else int(bits[0]) / 8)


class Instruction(NamedTuple):
  """One line of a computation."""

  name: str
  arrays: tuple[Array, ...]
  """Arrays of the result: several for a tuple, flattened."""
  opcode: str
  operands: tuple[str, ...]
  text: str
  """Text in the operands' brackets: a parameter's number or a constant's value."""
  attributes: str
  root: bool

  @property
  def called(self) -> list[str]:
    """Names of the computations that it runs."""
    branches = [name.strip(" %") for names in _BRANCHES.findall(self.attributes) for name in names.split(",")]
    return _CALLED.findall(self.attributes) + branches


class Program:
  """Compiled program of one device.

  Args:
    text: result of `compiled.as_text()`.

  Attributes:
    computations: instructions by computation.
    devices: number of devices that it is compiled for.
    times: number of executions of each computation.
    uncounted: while loops of unknown length, which count once.
  """

  def __init__(self, text: str):
    self.computations: dict[str, dict[str, Instruction]] = {}
    self.devices, self._entry = _devices(text), ""
    current: dict[str, Instruction] = {}
    for line in text.splitlines():
      header = _HEADER.match(line)
      if header:
        current = self.computations[header[2]] = {}
        self._entry = header[2] if header[1] else self._entry
      elif match := _INSTRUCTION.match(line):
        current[match[1]] = _instruction(line, match)
    self.uncounted = 0
    self.times = self._count()

  def instructions(self) -> Iterator[tuple[dict[str, Instruction], Instruction, float]]:
    """Executed instructions: computation, instruction, number of executions."""
    for name, times in self.times.items():
      for instruction in self.computations[name].values():
        yield self.computations[name], instruction, times

  def fused(self) -> set[str]:
    """Computations inside a kernel: their intermediate results do not pass through main memory."""
    kernels = [i for computation in self.computations.values() for i in computation.values() if i.opcode == "fusion"]
    return {name for kernel in kernels for name in kernel.called}

  def turns(self, loop: Instruction) -> int | None:
    """Number of iterations of a while loop; None if unknown."""
    match = _KNOWN.search(loop.attributes)
    if match:
      return int(match[1])
    condition = re.search(r"\bcondition=%?([\w.-]+)", loop.attributes)
    return self._bound(condition[1]) if condition else None

  def _bound(self, name: str) -> int | None:
    """Smallest integer that a condition compares a counter with; the comparison may be inside a fusion."""
    condition = self.computations[name]
    numbers = [_number(condition, operand) for i in _comparisons(condition) for operand in i.operands]
    for fusion in condition.values():
      for inner in (self.computations[called] for called in fusion.called if fusion.opcode == "fusion"):
        for operand in (operand for i in _comparisons(inner) for operand in i.operands):
          term = inner[operand]
          outside = term.opcode == "parameter"
          numbers.append(_number(condition, fusion.operands[int(term.text)]) if outside else _number(inner, operand))
    return min((number for number in numbers if number is not None), default=None)

  def _count(self) -> dict[str, float]:
    callers: dict[str, list[tuple[str, float]]] = {}
    for name, computation in self.computations.items():
      for instruction in computation.values():
        turns: int | None = 1
        if instruction.opcode == "while":
          turns = self.turns(instruction)
          self.uncounted += turns is None
        for called in instruction.called:
          callers.setdefault(called, []).append((name, 1 if turns is None else turns))

    @functools.cache
    def times(name: str) -> float:
      if name == self._entry:
        return 1.0
      return sum(times(caller) * turns for caller, turns in callers.get(name, []))

    return {name: times(name) for name in self.computations if times(name)}


def arrays_of(shape: str) -> tuple[Array, ...]:
  """The arrays of a printed shape, such as "(f32[8,2]{1,0:T(8,128)S(1)}, s32[])"."""
  arrays = []
  for dtype, dims, layout in _ARRAY.findall(shape):
    space = re.search(r"S\((\d+)\)", layout)
    arrays.append(Array(dtype, tuple(int(n) for n in dims.split(",") if n), int(space[1]) if space else 0))
  return tuple(arrays)


def _comparisons(computation: dict[str, Instruction]) -> list[Instruction]:
  return [i for i in computation.values() if i.opcode == "compare" and re.search(r"direction=(LT|GT)", i.attributes)]


def _number(computation: dict[str, Instruction], name: str) -> int | None:
  """The value of an integer constant."""
  instruction = computation[name]
  return int(instruction.text) if instruction.opcode == "constant" and instruction.text.isdecimal() else None


def operands(computation: dict[str, Instruction], instruction: Instruction) -> list[Array]:
  """The arrays that an instruction reads."""
  return [array for name in instruction.operands if name in computation for array in computation[name].arrays]


def _instruction(line: str, match: re.Match[str]) -> Instruction:
  name, shape, opcode, rest = match.groups()
  depth, end = 1, len(rest)
  for place, character in enumerate(rest):
    depth += (character == "(") - (character == ")")
    if not depth:
      end = place
      break
  inside = rest[:end]
  names = tuple(re.findall(r"%([\w.-]+)", inside))
  return Instruction(name, arrays_of(shape), opcode, names, inside, rest[end + 1 :], line.lstrip().startswith("ROOT "))


def _devices(text: str) -> int:
  """Number of devices according to the header: partitions of one program times its replicas."""
  header = text[: text.find("\n")]
  counts = (re.search(rf"\b{name}=(\d+)", header) for name in ("num_partitions", "replica_count"))
  return math.prod(int(count[1]) for count in counts if count)
