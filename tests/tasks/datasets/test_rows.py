"""Rows of JSON lines: numbers as they were written, and one line for what cannot be kept."""

from __future__ import annotations

import json

import pytest

from rl_jax.tasks.datasets import entries, rows
from rl_jax.tasks.datasets.rows import RowError


@pytest.mark.parametrize("text", ["2.50", "0.00001", "1e-05", "1E5", "-0.0", "123456789.123456789123456789"])
def test_a_number_is_text_as_it_was_written_and_a_float_in_all_else(text):
  value = rows.row(f'{{"a": {text}}}')["a"]
  assert str(value) == f"{value}" == text and value == float(text)
  assert json.dumps([value]) == json.dumps([float(text)])


def test_rows_have_their_place_and_a_byte_order_mark_is_skipped(tmp_path):
  file = tmp_path / "a.jsonl"
  file.write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xa9"}\n\n  \r\n{"a": "\xe2\x80\xa8"}\r\n{"a": [null, true, 2]}')
  assert list(rows.read(str(file))) == [
    (f"{file}, line 1", {"a": "é"}),
    (f"{file}, line 4", {"a": "\u2028"}),
    (f"{file}, line 5", {"a": [None, True, 2]}),
  ]


DEEP = "more than 100 lists or objects within one another: write them as text"


def nested(depth, begin=b"[", middle=b"", end=b"]"):
  """A row of as many lists or objects within one another."""
  return b'{"a": ' + begin * (depth - 1) + middle + end * (depth - 1) + b"}"


def test_a_row_as_deep_as_may_be_is_kept_as_an_entry():
  for line in (nested(rows.DEEPEST), nested(rows.DEEPEST, b'{"b":', b"1", b"}")):
    value = rows.row(line.decode())
    assert entries.loads(entries.dumps(value)) == value


@pytest.mark.parametrize(
  ("line", "message"),
  [
    (b'{"a": "caf\xe9"}', "no UTF-8: save the file in that encoding"),
    ('{"a": "é"}'.encode("utf-16"), "no UTF-8"),
    (b'{"a": "\xed\xa0\xbd"}', "no UTF-8"),
    (b'{"a": "\\ud83d"}', "half a character"),
    (b'{"a": [{"b": "smile \\ude00"}]}', "half a character"),
    (b'{"\\ud83d": 1}', "half a character"),
    (b'{"a": ' + b"7" * 5000 + b"}", "the number 77777777777777777… has 5000 digits: write it as text"),
    (b'{"a": -' + b"7" * 5000 + b"}", "digits: write it as text"),
    (b'{"a": [1e999]}', "the number 1e999 is beyond 1.8e308: write it as text"),
    (b'{"a": ' + b"9" * 400 + b".5}", "is beyond 1.8e308"),
    (b'{"a": NaN}', "NaN is no number of JSON"),
    (b'{"a": [-Infinity]}', "-Infinity is no number of JSON"),
    *[(nested(depth), DEEP) for depth in (101, 500, 990, 100_000)],
    *[(nested(depth, b'{"b":', b"1", b"}"), DEEP) for depth in (101, 500, 990, 100_000)],
    (b'{"a": 1, "b": {"c": 2, "c": 3}}', "the field 'c' is there twice"),
    (b'{"\\u0000tuple": [1]}', "begins with the character NUL"),
    (b'{"a": 1', "no JSON (Expecting"),
    (b'{"a": "\x1b[2J"}', "no JSON (Invalid control character"),
    (b"{} {}", "no JSON (Extra data"),
    (b'\xef\xbb\xbf{"a": 1}', "no JSON (Unexpected UTF-8 BOM"),
    (b"[1]", "got a list, want an object"),
    (b"null", "got null, want an object"),
    (b"0.5", "got a number, want an object"),
  ],
)
def test_what_cannot_be_kept_is_one_line_with_its_place(tmp_path, line, message):
  file = tmp_path / "a.jsonl"
  file.write_bytes(b'{"a": 1}\n' + line + b"\n")
  with pytest.raises(ValueError) as error:
    list(rows.read(str(file)))
  said = str(error.value)
  assert said.startswith(f"{file}, line 2: ") and message in said and said.isprintable() and len(said) < 400


def test_a_row_alone_is_refused_as_one_of_a_file_is():
  with pytest.raises(RowError, match="got text"):
    rows.row('"a"')
