"""Rows of columnar files (parquet, Arrow), under the rules of JSON lines.

A null inside a list or an object is an absent field, since all values of a column have the same fields. NaN is null;
dates and decimal numbers are text. Floats are written as Python writes them.
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
import uuid
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from rl_jax.tasks.datasets import rows
from rl_jax.tasks.datasets.rows import RowError

_TEXTS = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID)
_AT_A_TIME = 1024


def read(file: str, columns: Collection[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
  """The rows of a parquet file, each after its place, "FILE, row N".

  Args:
    columns: columns that are read, if the file has them; None: all.

  Raises: ValueError: it is no parquet, or a value cannot be kept, in one line with the place.
  """
  import pyarrow
  from pyarrow import parquet

  try:
    with parquet.ParquetFile(file) as source:
      names = [name for name in source.schema_arrow.names if columns is None or name in columns]
      number = 0
      for batch in source.iter_batches(_AT_A_TIME, columns=names):
        for values in batch.to_pylist():
          number += 1
          yield placed(f"{file}, row {number}", values)
  except (pyarrow.ArrowException, OSError) as error:
    raise ValueError(f"{file}: cannot be read as parquet ({' '.join(str(error).split())[:200]})") from error


def placed(where: str, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
  """A row of Python values and its place. Raises: ValueError: a value cannot be kept, in one line with the place."""
  try:
    plain = {name: _plain(name, value) for name, value in values.items()}
    return where, rows.row(json.dumps(plain, ensure_ascii=False))
  except RowError as error:
    raise ValueError(f"{where}: {error}") from error


def _plain(name: str, value: Any) -> Any:
  """A value in types of JSON."""
  if value is None or isinstance(value, bool | int | str):
    return value
  if isinstance(value, float):
    return None if math.isnan(value) else value
  if isinstance(value, dict):
    return {key: _plain(name, item) for key, item in value.items() if item is not None}
  if isinstance(value, list | tuple):
    return [_plain(name, item) for item in value]
  if isinstance(value, _TEXTS):
    return str(value)
  raise RowError(f"{name!r} holds {type(value).__name__}, which is no JSON: leave it out of task.columns")
