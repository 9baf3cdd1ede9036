"""Rows of parquet files: values as JSON has them, and files and values that cannot be kept."""

from __future__ import annotations

import datetime
import decimal
import math

import pyarrow
import pytest
from pyarrow import parquet

from rl_jax.tasks.datasets import columns, entries, json_lines


def write(file, rows):
  parquet.write_table(pyarrow.Table.from_pylist(rows), file)
  return str(file)


def test_values_are_those_of_json_lines(tmp_path):
  row = {"text": "é", "n": 3, "x": 0.1, "whole": 2.0, "flag": True, "none": None, "list": [1, 2], "nan": math.nan}
  row |= {"day": datetime.date(2024, 1, 2), "price": decimal.Decimal("2.50")}
  file = write(tmp_path / "a.parquet", [row, {**row, "none": "x"}])
  (where, first), (_, second) = columns.read(file)
  assert where == f"{file}, row 1" and second["none"] == "x"
  assert first == {**row, "nan": None, "day": "2024-01-02", "price": "2.50"}
  assert (str(first["x"]), str(first["whole"])) == ("0.1", "2.0")
  assert entries.loads(entries.dumps(first)) == first


def test_a_null_inside_a_struct_is_an_absent_field(tmp_path):
  rows = [{"m": [{"role": "user", "content": "q"}]}, {"m": [{"role": "user", "content": "q", "name": "Ann"}]}]
  schema = pyarrow.schema({"m": pyarrow.list_(pyarrow.struct(dict.fromkeys(("role", "content", "name"), "string")))})
  parquet.write_table(pyarrow.Table.from_pylist(rows, schema), tmp_path / "a.parquet")
  assert [row for _, row in columns.read(str(tmp_path / "a.parquet"))] == rows


@pytest.mark.parametrize(
  ("value", "message"),
  [
    (b"\x89PNG", "row 1: 'x' holds bytes, which is no JSON: leave it out of task.columns"),
    (math.inf, "row 1: Infinity is no number of JSON"),
  ],
)
def test_what_cannot_be_kept_is_one_line_unless_its_column_is_left_out(tmp_path, value, message):
  file = write(tmp_path / "a.parquet", [{"q": "a", "x": value}])
  with pytest.raises(ValueError) as error:
    list(columns.read(file))
  assert str(error.value) == f"{file}, {message}"
  assert list(columns.read(file, {"q", "other"})) == [(f"{file}, row 1", {"q": "a"})]


def test_a_file_that_is_no_parquet_is_one_line(tmp_path):
  (tmp_path / "a.parquet").write_text('{"question": "a"}\n')
  with pytest.raises(ValueError, match=r"a.parquet: cannot be read as parquet \([^\n]+\)$"):
    list(columns.read(str(tmp_path / "a.parquet")))


def test_a_file_of_problems_is_read_by_its_ending(tmp_path):
  rows = [{"question": f"{n}?", "answer": f"so #### {n}", "image": b"1"} for n in range(3)]
  file = write(tmp_path / "a.parquet", rows)
  fields = {"question_field": "question", "answer_field": "answer", "level_field": "", "held_out_fraction": 0.25}
  config = json_lines.JsonLinesConfig(name="x", file=file, held_out_file="", columns=["question"], **fields)
  assert [problem.entry for problem in json_lines._read(config, file)] == [
    {"question": f"{n}?", "answer": f"{n}", "solution": f"so #### {n}"} for n in range(3)
  ]
