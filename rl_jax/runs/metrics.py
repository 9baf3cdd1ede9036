"""Metrics of a run: JSON lines as the record, TensorBoard and other trackers as views.

metrics.jsonl: {"kind": "train", "iteration": 40, "reward": [0.71, 0.69, 0.73], …}. Every value is a list with one
number per seed. A float is written by `repr` and reads back as the same 64 bits; a whole number stays a whole number.
NaN and infinities are the strings "NaN", "Infinity", "-Infinity" (strict JSON has no such numbers, and null would not
tell them apart); a NaN's payload bits are not kept.
timings.jsonl: {"kind": "timings", "iteration": 40, "seconds": 1.2, …}: single numbers, since seeds run together.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_jax.errors import UserError
from rl_jax.runs import json_lines
from rl_jax.runs.directory import RunDirectory
from rl_jax.runs.files import decode_number, encode_float
from rl_jax.runs.statistics import mean, spread
from rl_jax.runs.trackers.group import Trackers
from rl_jax.runs.trackers.tensorboard import TensorBoard

_RESERVED = ("kind", "iteration")
_RESTORE = "restore the file from a copy"
_MOST = 1 << 64
"""Largest whole number: no run counts further, and a float may not represent larger ones."""


class MetricsWriter:
  """Writes metrics and timings of one run. Lines reach the operating system at once and the disk at `sync`.

  Args:
    directory: the run, open for writing.
    tensorboard: also write event files: `kind/name` is the mean over seeds, `kind/name_spread` the sample standard
      deviation if there is more than one seed. NaN and infinities are left out.
    trackers: get the same values.
  """

  def __init__(self, directory: RunDirectory, tensorboard: bool = True, trackers: Trackers | None = None) -> None:
    self._directory = directory
    self._tensorboard = TensorBoard(directory.tensorboard) if tensorboard else None
    self._trackers = trackers or Trackers()

  def write(self, kind: str, iteration: int, values: Mapping[str, Sequence[float] | np.ndarray]) -> None:
    """Append a line: `kind` ("train", "evaluation", …) after `iteration` iterations, with a number per seed for each
    name.

    Raises:
      UserError: a name is reserved, a value is not a list of numbers, lengths differ, or the disk is full.
    """
    line: dict[str, Any] = {}
    for name, value in values.items():
      if name in _RESERVED:
        raise UserError(f"a metric cannot be named {name!r}: choose another name")
      line[name] = _numbers(name, value)
    lengths = {name: len(numbers) for name, numbers in line.items()}
    if len(set(lengths.values())) > 1:
      shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
      raise UserError(
        f"metrics need one number per seed, got {lengths[shortest]} for {shortest!r} and {lengths[longest]} for "
        f"{longest!r} at iteration {iteration}"
      )
    encoded = {name: [_encoded(x) for x in numbers] for name, numbers in line.items()}
    json_lines.append(self._directory.metrics, [{"kind": kind, "iteration": int(iteration), **encoded}])
    scalars = {f"{kind}/{name}": mean(numbers) for name, numbers in line.items()}
    spreads = {f"{kind}/{name}_spread": spread(numbers) for name, numbers in line.items() if len(numbers) > 1}
    self._show(scalars | spreads, iteration)

  def write_timings(self, iteration: int, values: Mapping[str, float]) -> None:
    """Append a line to timings.jsonl: single numbers, and `wall_clock` (seconds since 1970).

    Raises:
      UserError: a name is reserved, a value is not a number, or the disk is full.
    """
    line: dict[str, Any] = {"kind": "timings", "iteration": int(iteration), "wall_clock": time.time()}
    for name, value in values.items():
      if name in line:
        raise UserError(f"a timing cannot be named {name!r}: choose another name")
      (only,) = _numbers(name, [value])
      line[name] = _encoded(only)
    json_lines.append(self._directory.timings, [line])
    self._show({f"timings/{name}": float(value) for name, value in values.items()}, iteration)

  def cut_after(self, iteration: int, vouched: Mapping[str, Sequence[Any]] | None = None) -> list[str]:
    """Drop metrics, timings and samples after `iteration`, and unfinished lines, to resume from its checkpoint.

    TensorBoard is told to hide later events (its files only grow).

    Args:
      vouched: sizes of the files when the checkpoint was saved, first of each entry (`log_hashes`); all later bytes
        are dropped. None: unknown.

    Returns:
      A line for each shortened file, for the user.

    Raises:
      UserError: a line to be kept cannot be trusted, because a damaged one precedes it.
    """
    directory = self._directory
    paths = (directory.metrics, directory.timings, directory.samples)
    size = lambda path: None if vouched is None else vouched.get(path.name, [0])[0]
    notes = [json_lines.cut_after(path, iteration, size(path)) for path in paths]
    if self._tensorboard is not None:
      self._tensorboard.hide_after(iteration)
    return [note for note in notes if note is not None]

  def sync(self) -> None:
    """Flush everything to disk, before a checkpoint counts as saved."""
    for path in (self._directory.metrics, self._directory.timings, self._directory.samples):
      json_lines.sync(path)
    if self._tensorboard is not None:
      self._tensorboard.flush()

  def close(self) -> None:
    """Sync and close. A later `write` opens again. Trackers are closed by the caller."""
    self.sync()
    if self._tensorboard is not None:
      self._tensorboard.close()

  def _show(self, scalars: Mapping[str, float], iteration: int) -> None:
    """Pass finite values on to the views: TensorBoard cannot show others and would warn about each."""
    finite = {name: value for name, value in scalars.items() if math.isfinite(value)}
    if self._tensorboard is not None:
      self._tensorboard.write(finite, int(iteration))
    self._trackers.write(finite, int(iteration))


def read_metrics(path: Path) -> list[dict[str, Any]]:
  """Lines of metrics.jsonl in file order, with NaN and infinities as floats.

  A missing file has no lines; an unfinished last line (of a running or killed run) is left out.

  Raises:
    UserError: if another line is damaged, has no kind, or lacks a number for a seed.
  """
  lines, seeds = _read(path, "a list of numbers", _is_list_of_numbers), None
  for number, line in enumerate(lines, 1):
    for name in (name for name in line if name not in _RESERVED):
      seeds = seeds or len(line[name])
      if len(line[name]) != seeds:
        raise UserError(f"{path}, line {number}, {name!r}: want a number for each of {seeds} seeds: {_RESTORE}")
  return lines


def read_timings(path: Path) -> list[dict[str, Any]]:
  """Lines of timings.jsonl, read like those of `read_metrics`.

  Raises:
    UserError: if a line is damaged, has no kind, or has a value that is not a number.
  """
  return _read(path, "a number", _is_number)


def _read(path: Path, kind: str, fits: Callable[[Any], bool]) -> list[dict[str, Any]]:
  """Lines in which every value `fits`; `kind` names the wanted type in errors."""
  lines = [{name: _decoded(value) for name, value in line.items()} for line in json_lines.read(path)]
  for number, line in enumerate(lines, 1):
    where = f"{path}, line {number}"
    if not isinstance(line.get("kind"), str):
      raise UserError(f"{where} has no kind: {_RESTORE}")
    for name, value in line.items():
      if name not in _RESERVED and not fits(value):
        raise UserError(f"{where}, {name!r}: want {kind}, got {value!r:.60}: {_RESTORE}")
  return lines


def _is_number(value: Any) -> bool:
  return type(value) is float or (type(value) is int and abs(value) < _MOST)


def _is_list_of_numbers(value: Any) -> bool:
  return isinstance(value, list) and bool(value) and all(map(_is_number, value))


def _encoded(value: int | float) -> int | float | str:
  return encode_float(value) if isinstance(value, float) else value


def _decoded(value: Any) -> Any:
  return [decode_number(item) for item in value] if isinstance(value, list) else decode_number(value)


def _numbers(name: str, values: Any) -> list[int | float]:
  array = np.asarray(values)
  if array.ndim != 1 or array.size == 0:
    raise UserError(f"metric {name!r} needs a list with one number per seed, got shape {array.shape}")
  try:
    return [int(x) if array.dtype.kind in "biu" else float(x) for x in array]
  except (TypeError, ValueError):
    raise UserError(f"metric {name!r} needs numbers, got {values!r:.80}") from None
