"""Reader of GGUF files: metadata and the places of tensors. Every length is checked before it is used.

The format: magic, version, counts of tensors and fields; the fields (name, type, value); the tensors' names, shapes,
types and offsets; the tensors, aligned. Lengths have 64 bits, so a damaged file may claim more than any memory holds.
"""

from __future__ import annotations

import functools
import math
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rl_jax.models.errors import ModelFileError, package, shown

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Formats of `struct` for the value types, by their number in the file format."""
_STRING, _ARRAY = 8, 9
_ALIGNMENT = "general.alignment"
_MOST_ELEMENTS = 2**24
"""Largest number of elements in an array; vocabularies have about 2**18."""
_MOST_AXES = 4


class Tensor(NamedTuple):
  """Place of a tensor in the file.

  Attributes:
    shape: [outputs, inputs].
    kind: its type, a `gguf.GGMLQuantizationType`.
    start: its first byte.
    row_bytes: bytes of the last axis.
  """

  shape: tuple[int, ...]
  kind: Any
  start: int
  row_bytes: int


class GGUFFile(NamedTuple):
  """Metadata and tensors of a file by name, and its bytes, mapped into memory."""

  fields: dict[str, Any]
  tensors: dict[str, Tensor]
  content: np.ndarray

  def rows(self, tensor: str) -> np.ndarray:
    """The bytes of a tensor [rows, bytes of a row]; one of a single axis has one row."""
    shape, _, start, row_bytes = self.tensors[tensor]
    rows = math.prod(shape[:-1])
    return self.content[start : start + rows * row_bytes].reshape(rows, row_bytes)


def read(path: Path) -> GGUFFile:
  """File at `path`; the latest one is cached.

  Raises: ModelFileError: there is no such file, or it is no GGUF.
  """
  try:
    changed = path.stat().st_mtime_ns
  except OSError as error:
    raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error
  return _read(path, changed)


@functools.lru_cache(maxsize=1)
def _read(path: Path, changed: int) -> GGUFFile:
  """Read a file; `changed` distinguishes its versions in the cache."""
  try:
    return _parsed(np.memmap(path, mode="r"))
  except OSError as error:
    raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error
  except ModelFileError:  # a missing package is no fault of the file
    raise
  except ValueError as error:
    raise ModelFileError(f"{path} is damaged or no GGUF file: {error}") from error


def _parsed(content: np.ndarray) -> GGUFFile:
  cursor = _Cursor(content)
  if cursor.take(4) != _MAGIC:
    raise ValueError("it does not begin with GGUF")
  version = cursor.number("I")
  if version not in _VERSIONS:
    raise ValueError(f"version {version}, known are {', '.join(map(str, _VERSIONS))}")
  num_tensors, num_fields = cursor.number("Q"), cursor.number("Q")
  fields: dict[str, Any] = {}
  for _ in range(num_fields):
    name = cursor.text("the name of a field")
    if name in fields:
      raise ValueError(f"field {shown(name)} is there twice")
    fields[name] = cursor.value(f"field {shown(name)}", cursor.number("I"))
  claims = [_claimed_tensor(cursor) for _ in range(num_tensors)]
  alignment = fields.get(_ALIGNMENT, 32)
  if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
    raise ValueError(f"{_ALIGNMENT}={shown(alignment)}: want a power of two")
  start = -(-cursor.place // alignment) * alignment
  tensors: dict[str, Tensor] = {}
  for name, shape, kind, offset in claims:
    if name in tensors:
      raise ValueError(f"tensor {shown(name)} is there twice")
    tensors[name] = _placed(name, shape, kind, start + offset, len(content))
  return GGUFFile(fields, tensors, content)


class _Cursor:
  """Position in the file that advances as values are read. Raises ValueError if the file ends too early."""

  def __init__(self, content: np.ndarray):
    self._bytes = content
    self.place = 0

  def take(self, count: int, what: str = "the header") -> bytes:
    if count > len(self._bytes) - self.place:
      raise ValueError(f"the file ends within {what} ({count} bytes of it at {self.place})")
    content = self._bytes[self.place : self.place + count].tobytes()
    self.place += count
    return content

  def number(self, kind: str, what: str = "the header") -> Any:
    return struct.unpack(f"<{kind}", self.take(struct.calcsize(f"<{kind}"), what))[0]

  def text(self, what: str) -> str:
    content = self.take(self.number("Q", what), what)
    try:
      return content.decode()
    except UnicodeDecodeError as error:
      raise ValueError(f"{what} is no UTF-8") from error

  def value(self, what: str, kind: int) -> Any:
    if kind in _SCALARS:
      return self.number(_SCALARS[kind], what)
    if kind == _STRING:
      return self.text(what)
    if kind != _ARRAY:
      raise ValueError(f"{what} has the unknown type {kind}")
    of, count = self.number("I", what), self.number("Q", what)
    if of not in _SCALARS and of != _STRING:
      raise ValueError(f"{what} is an array of the unknown type {of}")
    size = struct.calcsize(_SCALARS[of]) if of in _SCALARS else 8
    if count > min(_MOST_ELEMENTS, (len(self._bytes) - self.place) // size):
      raise ValueError(f"{what} is an array of {count} elements, more than there can be")
    if of == _STRING:
      return [self.text(what) for _ in range(count)]
    return list(struct.unpack(f"<{count}{_SCALARS[of]}", self.take(count * size, what)))


def _claimed_tensor(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
  """Name, shape, type and offset of a tensor, from the header."""
  name = cursor.text("the name of a tensor")
  what = f"tensor {shown(name)}"
  axes = cursor.number("I", what)
  if not 1 <= axes <= _MOST_AXES:
    raise ValueError(f"{what} has {axes} axes, want 1 to {_MOST_AXES}")
  shape = tuple(reversed([cursor.number("Q", what) for _ in range(axes)]))
  return name, shape, cursor.number("I", what), cursor.number("Q", what)


def _placed(name: str, shape: tuple[int, ...], number: int, start: int, end: int) -> Tensor:
  constants = package("gguf")
  try:
    kind = constants.GGMLQuantizationType(number)
  except ValueError as error:
    raise ValueError(f"tensor {shown(name)} has the unknown type {number}") from error
  block, block_bytes = constants.GGML_QUANT_SIZES[kind]
  if shape[-1] % block:
    raise ValueError(f"tensor {shown(name)} has rows of {shape[-1]}, no multiple of a block of {block}")
  row_bytes = shape[-1] // block * block_bytes
  if start + math.prod(shape[:-1]) * row_bytes > end:
    raise ValueError(f"tensor {shown(name)} of shape {shape} goes beyond the end of the file")
  return Tensor(shape, kind, start, row_bytes)
