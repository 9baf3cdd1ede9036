"""Sizes of the parts of an iteration's batch: passes, minibatches, micro-batches, shards of the mesh."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from rl_jax.errors import UserError

MINIBATCHES = ("rows", "groups")
"""Units that minibatches are drawn in: single rows, or all rows of a prompt together."""


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Sizes of an update.

  Attributes:
    epochs: passes over the rows.
    minibatches_per_epoch: optimiser steps of a pass.
    group: rows of a prompt (of a tree all nodes), which are all in one minibatch and micro-batch. A shard of the mesh
      holds whole groups where its rows are a multiple of them; what is computed does not depend on it. Batches with
      groups of other sizes (replay, windows) may have one split. None: single rows are shuffled.
    rows_per_microbatch: rows differentiated at a time; None, or 0: the whole minibatch.
    length_buckets: widths that rows are run at, sorted by length into as many micro-batches (or those of
      `rows_per_microbatch`); see lengths.py. 1: all rows run all slots.
    gradient_dtype: in which micro-batches add up.
    parameter_average: decay of the averaged parameters per update.
    shards: parts into which the mesh splits rows.
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
    """Rows that are differentiated at a time, of a batch of `rows`."""
    return self.part_of_minibatch(rows // self.minibatches_per_epoch)

  def part_of_minibatch(self, rows: int) -> int:
    """Rows that are differentiated at a time, of a minibatch of `rows`."""
    return self.rows_per_microbatch or rows // self.length_buckets

  def holds(self, rows: int, block: int) -> bool:
    """Return whether blocks of `block` adjacent rows stay whole in every part of a batch of `rows`.

    Blocks of groups are never split; single rows are shuffled apart, and shards may cut through a block.
    """
    in_order = self.minibatches_per_epoch == 1 or self.group == block
    return in_order and self.part(rows) % (block * self.shards) == 0

  def check(self, rows: int) -> None:
    """Raise UserError, naming both numbers and a near one that works, unless sizes divide one another.

    Args:
      rows: of one iteration's batch.
    """
    divides(rows, self.shards, "rows of an iteration", "the mesh's shards of rows")
    divides(rows, self.minibatches_per_epoch, "rows of an iteration", "minibatches_per_epoch")
    minibatch = rows // self.minibatches_per_epoch
    divides(minibatch, self.shards, "rows of a minibatch", "the mesh's shards of rows")
    if self.group and self.minibatches_per_epoch > 1 and minibatch % self.group:
      raise UserError(
        f"rows of a minibatch ({minibatch}) are not whole groups of {self.group} rows (completions_per_prompt): take "
        "fewer minibatches_per_epoch, or single rows with minibatches_of='rows'"
      )
    if self.length_buckets > 1 and not self.rows_per_microbatch:
      divides(minibatch, self.length_buckets * (self.group or 1) * self.shards, "rows of a minibatch",
        f"length_buckets={self.length_buckets} times the rows of a prompt times the mesh's shards of rows",
      )  # fmt: skip
    if self.rows_per_microbatch:
      divides(minibatch, self.rows_per_microbatch, "rows of a minibatch", "rows_per_microbatch")
      divides(self.rows_per_microbatch, self.shards, "rows_per_microbatch", "the mesh's shards of rows")
      if self.group and self.rows_per_microbatch < minibatch and self.rows_per_microbatch % self.group:
        raise UserError(
          f"rows_per_microbatch ({self.rows_per_microbatch}) are not whole groups of {self.group} rows "
          f"(completions_per_prompt): take a multiple of {self.group}, or single rows with minibatches_of='rows'"
        )


def sizes_of(config: ConfigDict, shards: int = 1) -> Sizes:
  """The sizes that a config asks for.

  Raises: UserError: minibatches of something unknown.
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
  """Raise UserError unless `part` divides `whole`."""
  if part < 1 or whole % part:
    near = f": {whole - whole % part} or {whole - whole % part + part} would do" if part > 0 and whole else ""
    raise UserError(f"{whole_name} ({whole}) is not a multiple of {part_name} ({part}){near}")
