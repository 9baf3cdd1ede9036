"""Sizes of the parts of an iteration's batch: passes, minibatches, micro-batches, shards of the mesh."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from rl_jax.errors import UserError

MINIBATCHES = ("rows", "groups")
"""Units in which minibatches are drawn: single rows, or all rows of a prompt together."""


_SHARDS = "the mesh's shards of rows"
_GROUPS = "rows (completions_per_prompt)"


class _Fault(NamedTuple):
  """Size that does not divide another."""

  field: str
  """Name in `Sizes`, for which values that work are suggested."""
  text: str
  grouped: bool = False
  """True if single rows would fit, but not whole prompts."""


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Sizes of an update.

  Attributes:
    epochs: passes over the rows.
    minibatches_per_epoch: optimiser steps of a pass.
    group: rows of a prompt (all nodes of a tree), which share a minibatch and micro-batch. A shard of the mesh holds
      whole groups if its rows are a multiple of them; results do not depend on it. In batches with groups of other
      sizes (replay, windows) a group may be split. None: single rows are shuffled.
    rows_per_microbatch: rows differentiated at a time; None or 0: the whole minibatch.
    length_buckets: number of layouts, with rows sorted by length into as many micro-batches (or those of
      `rows_per_microbatch`); see lengths.py. 1: all rows run all slots.
    gradient_dtype: type in which micro-batches accumulate.
    parameter_average: decay per update of the averaged parameters.
    shards: number of parts into which the mesh splits rows.
  """

  epochs: int
  minibatches_per_epoch: int
  group: int | None = None
  rows_per_microbatch: int | None = None
  length_buckets: int = 1
  gradient_dtype: str = "float32"
  parameter_average: float = 0.0
  shards: int = 1

  @property
  def updates(self) -> int:
    """Optimiser steps of an iteration."""
    return self.epochs * self.minibatches_per_epoch

  def part(self, rows: int) -> int:
    """Number of rows differentiated at a time, in a batch of `rows`."""
    return self.part_of_minibatch(rows // self.minibatches_per_epoch)

  def part_of_minibatch(self, rows: int) -> int:
    """Number of rows differentiated at a time, in a minibatch of `rows`."""
    return self.rows_per_microbatch or rows // self.length_buckets

  def holds(self, rows: int, block: int) -> bool:
    """Return whether blocks of `block` adjacent rows stay whole in every part of a batch of `rows`.

    Blocks of groups are never split. Single rows are shuffled, and shards may cut through a block.
    """
    in_order = self.minibatches_per_epoch == 1 or self.group == block
    return in_order and self.part(rows) % (block * self.shards) == 0

  def check(self, rows: int) -> None:
    """Raise UserError unless sizes divide one another. The message has both numbers and values that work.

    Args:
      rows: rows of one iteration's batch.
    """
    if fault := self._fault(rows):
      raise UserError(f"{fault.text}{self._advice(fault, rows)}")

  def _fault(self, rows: int) -> _Fault | None:
    """The first size that does not divide another."""
    if rows % self.shards:
      return _Fault("shards", f"rows of an iteration ({rows}) is not a multiple of {_SHARDS} ({self.shards})")
    if rows % self.minibatches_per_epoch:
      number = self.minibatches_per_epoch
      return _Fault(
        "minibatches_per_epoch", f"rows of an iteration ({rows}) is not a multiple of minibatches_per_epoch ({number})"
      )
    return self._fault_of_minibatch(rows // self.minibatches_per_epoch)

  def _fault_of_minibatch(self, rows: int) -> _Fault | None:
    of_minibatch, of_part, group = f"rows of a minibatch ({rows})", self.rows_per_microbatch, self.group
    if rows % self.shards:
      return _Fault("minibatches_per_epoch", f"{of_minibatch} is not a multiple of {_SHARDS} ({self.shards})")
    if group and self.minibatches_per_epoch > 1 and rows % group:
      return _Fault("minibatches_per_epoch", f"{of_minibatch} are not whole groups of {group} {_GROUPS}", grouped=True)
    if self.length_buckets > 1 and not of_part and rows % (self.length_buckets * (group or 1) * self.shards):
      times = f"length_buckets={self.length_buckets} times the rows of a prompt times {_SHARDS}"
      of_all = self.length_buckets * (group or 1) * self.shards
      return _Fault("length_buckets", f"{of_minibatch} is not a multiple of {times} ({of_all})")
    if not of_part:
      return None
    if rows % of_part:
      return _Fault("rows_per_microbatch", f"{of_minibatch} is not a multiple of rows_per_microbatch ({of_part})")
    if of_part % self.shards:
      text = f"rows_per_microbatch ({of_part}) is not a multiple of {_SHARDS} ({self.shards})"
      return _Fault("rows_per_microbatch", text)
    if group and of_part < rows and of_part % group:
      text = f"rows_per_microbatch ({of_part}) are not whole groups of {group} {_GROUPS}"
      return _Fault("rows_per_microbatch", text, grouped=True)
    return None

  def _advice(self, fault: _Fault, rows: int) -> str:
    """Suggestion of the nearest values, on either side, with which all sizes divide."""
    if fault.field == "shards":
      return ": change prompts_per_iteration or completions_per_prompt, or the axes of the mesh"
    value = getattr(self, fault.field)
    divisors = [number for number in range(1, rows + 1) if not rows % number]
    good = [number for number in divisors if self._with(fault.field, number)._fault(rows) is None]
    near = [*[number for number in good if number < value][-1:], *[number for number in good if number > value][:1]]
    advice = f": {fault.field}={' or '.join(map(str, near))} would do" if near else ""
    single = f"{', or' if near else ':'} single rows with minibatches_of='rows'" if fault.grouped else ""
    return advice + single

  def _with(self, field: str, value: int) -> Sizes:
    changes: dict[str, Any] = {field: value}
    return dataclasses.replace(self, **changes)


def sizes_of(config: ConfigDict, shards: int = 1) -> Sizes:
  """Sizes in a config.

  Raises: UserError: `minibatches_of` is unknown.
  """
  kind = config.get("minibatches_of", "rows")  # recorded configs may be older than the field
  buckets = config.get("length_buckets", 1)
  if kind not in MINIBATCHES:
    raise UserError(f"minibatches_of is one of {', '.join(MINIBATCHES)}, got {kind!r}")
  return Sizes(
    epochs=config.epochs,
    minibatches_per_epoch=config.minibatches_per_epoch,
    group=config.completions_per_prompt if kind == "groups" else None,
    rows_per_microbatch=config.rows_per_microbatch,
    length_buckets=buckets,
    gradient_dtype=config.optimizer.gradient_dtype,
    parameter_average=config.optimizer.parameter_average,
    shards=shards,
  )


def divides(whole: int, part: int, whole_name: str, part_name: str) -> None:
  """Raise UserError with the nearest values of `whole`, unless `part` (at least 1) divides it."""
  if whole % part:
    below = whole - whole % part
    near = f"{below} or {below + part}" if below else f"{part}"  # at 0 there is nothing
    raise UserError(f"{whole_name} ({whole}) is not a multiple of {part_name} ({part}): {near} would do")
