"""Costs of a compiled program on one chip: operations of its matrix products, and bytes that pass through its HBM.

XLA's own `cost_analysis` counts the body of a loop once, whatever its length, and so misses most of a sampler's cost.
Here an instruction counts as often as it runs (see `rl_jax.planning.hlo`).

Operations: 2 per multiply-add of products and convolutions (on TPU all products are convolutions). Other operations
count as 0, and so do Pallas kernels.

Bytes: reads and writes of kernels in the device's main memory, each array once per kernel. A kernel that takes a slice
of an array reads the slice; one that updates a slice in place writes the slice. Padding counts as 0.
"""

from __future__ import annotations

import functools
import math
import re

import numpy as np

from rl_jax.planning.collectives import instructions
from rl_jax.planning.hlo import Array, Instruction, Program, operands

_FREE = frozenset(
  "parameter constant tuple get-tuple-element bitcast while conditional call after-all partition-id replica-id "
  "opt-barrier optimization-barrier async-start async-update async-done call-start call-done "
  "copy-done slice-done all-gather-done all-reduce-done collective-permute-done send-done recv-done domain".split()
)
"""Instructions that move no bytes themselves."""
_PARTS = ("dynamic-slice", "slice", "gather")
_CARRIERS = ("async-collective-start", "async-collective-done")
"""Names of kernels that begin and end a collective spread over other kernels; it counts once."""


def flops(program: Program) -> float:
  """Operations of all matrix products of one run."""
  total = 0.0
  for computation, instruction, times in program.instructions():
    if instruction.opcode == "dot":
      total += times * _dot(computation, instruction)
    elif instruction.opcode == "convolution":
      total += times * _convolution(computation, instruction)
  return total


def _numbers(name: str, text: str) -> list[int]:
  match = re.search(rf"\b{name}=\{{([\d,]*)\}}", text)
  return [int(n) for n in match[1].split(",") if n] if match else []


def _dot(computation: dict[str, Instruction], dot: Instruction) -> float:
  left = operands(computation, dot)[0].dims
  contracted = math.prod(left[i] for i in _numbers("lhs_contracting_dims", dot.attributes))
  return 2.0 * math.prod(dot.arrays[0].dims) * contracted


def _convolution(computation: dict[str, Instruction], convolution: Instruction) -> float:
  """2 x outputs x input features, times the number of positions at which kernel and input meet. These are few on TPU,
  where the axes of a batch of products become dilated or padded spatial axes."""
  labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", convolution.attributes)
  if labels is None:
    return 0.0
  left, right = (array.dims for array in operands(computation, convolution)[:2])
  inputs, kernel, output = (
    dict(zip(names, dims, strict=True))
    for names, dims in zip(labels.groups(), (left, right, convolution.arrays[0].dims), strict=True)
  )
  total = 2.0 * output["b"] * output["f"] * kernel["i"]
  for axis, steps in enumerate(_window(convolution.attributes, sum(name.isdigit() for name in kernel))):
    name = str(axis)
    total *= _meetings(inputs[name], kernel[name], output[name], *steps)
  return total


def _window(text: str, axes: int) -> list[tuple[int, int, int, int]]:
  """(stride, padding in front, dilation of the input, dilation of the kernel) of each spatial axis."""
  window = re.search(r"window=\{([^}]*)\}", text)
  fields = dict(field.split("=") for field in window[1].split()) if window else {}

  def each(name: str, default: int) -> list[int]:
    return [int(part.split("_")[0]) for part in fields[name].split("x")] if name in fields else [default] * axes

  columns = each("stride", 1), each("pad", 0), each("lhs_dilate", 1), each("rhs_dilate", 1)
  return list(zip(*columns, strict=True))


@functools.lru_cache(maxsize=1024)
def _meetings(inputs: int, kernel: int, outputs: int, stride: int, pad: int, dilated: int, spread: int) -> int:
  """Number of pairs of an output and a kernel position that meet an input, not padding or a gap from dilation."""
  place = np.arange(outputs)[:, None] * stride + np.arange(kernel) * spread - pad
  return int(((place >= 0) & (place <= (inputs - 1) * dilated) & (place % dilated == 0)).sum())


def memory_bytes(program: Program) -> float:
  """Bytes that kernels read from main memory and write to it in one run."""
  fused, total = program.fused(), 0.0
  for name, times in program.times.items():
    if name not in fused:
      computation = program.computations[name]
      moving = (instruction for instruction in computation.values() if instruction.opcode not in _FREE)
      total += times * sum(_moved(program, computation, instruction) for instruction in moving)
  for name, instruction, times in instructions(program):
    if name in fused:  # spread over kernels with other work
      total += times * (_main(operands(program.computations[name], instruction)) + _main(list(instruction.arrays)))
  return total


def _moved(program: Program, computation: dict[str, Instruction], instruction: Instruction) -> float:
  if instruction.opcode == "fusion":
    return 0.0 if instruction.name.startswith(_CARRIERS) else _fusion(program, computation, instruction)
  read, written = operands(computation, instruction), list(instruction.arrays)
  if instruction.opcode in _PARTS:
    read = [array._replace(dims=written[0].dims, dtype=written[0].dtype) for array in read[:1]]
  elif instruction.opcode == "dynamic-update-slice":
    read, written = read[1:2], read[1:2]
  elif instruction.opcode in ("copy-start", "slice-start"):
    written = written[1:2] if instruction.opcode == "slice-start" else written[:1]  # the others: operand, token
    read = [array._replace(dims=written[0].dims) for array in read[:1]]
  return _main(read) + _main(written)


def _main(arrays: list[Array]) -> float:
  return sum(array.bytes for array in arrays if array.space == 0)


def _fusion(program: Program, computation: dict[str, Instruction], fusion: Instruction) -> float:
  """Bytes that a fused kernel reads and writes. A slice that it updates in place counts as the slice; an output that
  aliases an operand counts as 0."""
  inner = program.computations[fusion.called[0]]
  operand_arrays = [list(computation[name].arrays) if name in computation else [] for name in fusion.operands]
  aliases = re.search(r"output_to_operand_aliasing=\{(.*?\))\}", fusion.attributes)
  handed_on = re.findall(r"\{(\d*)\}: \((\d+),", aliases[1]) if aliases else []
  not_read = {int(operand) for _, operand in handed_on}
  not_written = {int(output or 0) for output, _ in handed_on}
  total, in_place = 0.0, 0.0
  for parameter in (i for i in inner.values() if i.opcode == "parameter"):
    number = int(parameter.text)
    if number >= len(operand_arrays) or number in not_read:
      continue
    size, part = _main(operand_arrays[number]), _part(program, inner, parameter.name)
    total += size if part is None else min(part, size)
    in_place += size if any(_updates(parameter.name, i) for i in inner.values()) else 0.0
  for update in (i for i in inner.values() if i.opcode == "dynamic-update-slice" and (in_place or handed_on)):
    total += operands(inner, update)[1].bytes
  outputs = [array for place, array in enumerate(fusion.arrays) if place not in not_written]
  return total + max(0.0, _main(outputs) - in_place)


def _updates(name: str, use: Instruction) -> bool:
  return use.opcode == "dynamic-update-slice" and use.operands[0] == name


def _part(program: Program, computation: dict[str, Instruction], name: str) -> float | None:
  """Bytes that a kernel, with its nested kernels, reads from an array if it reads only parts; None if it reads all."""
  total, has_use = 0.0, False
  for use in computation.values():
    if name not in use.operands:
      continue
    has_use = True
    if _updates(name, use):
      part_bytes: float | None = 0.0
    elif use.opcode in _PARTS and use.operands[0] == name:
      part_bytes = use.arrays[0].bytes
    elif use.opcode == "bitcast":
      part_bytes = _part(program, computation, use.name)
    elif use.opcode == "fusion":
      part_bytes = _inside(program, use, name)
    else:
      part_bytes = None
    if part_bytes is None:
      return None
    total += part_bytes
  return total if has_use else None


def _inside(program: Program, kernel: Instruction, name: str) -> float | None:
  """Bytes that a nested kernel reads from an operand, as `_part`."""
  inner, number = program.computations[kernel.called[0]], str(kernel.operands.index(name))
  parameter = next((i for i in inner.values() if i.opcode == "parameter" and i.text == number), None)
  return None if parameter is None else _part(program, inner, parameter.name)
