"""TFDS builder of problems from JSON lines or parquet in the shape of GSM8K: {"question": "…", "answer": "… #### 42"}.

A row of a task of programs has a list of `tests` instead of an answer, or both.
"""

from __future__ import annotations

import dataclasses
import difflib
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from rl_jax.tasks import messages
from rl_jax.tasks.datasets import columns, rows
from rl_jax.tasks.datasets.builder import ProblemBuilder
from rl_jax.tasks.datasets.problems import Problem, SplitProblems, divide, separate
from rl_jax.tasks.datasets.rows import RowError
from rl_jax.tasks.verifiers.sandbox import check_useful

ANSWER_MARK = "####"
TESTS, SOLUTION = "tests", "solution"
OWN_COLUMN = "row_"
"""Prefix for a row's own column `question` or `answer`, if another field provides that value."""


@dataclasses.dataclass(eq=False, kw_only=True)
class RowsConfig(tfds.core.BuilderConfig):
  """Columns of a problem.

  Attributes:
    question_field: a text, or a list of {"role", "content"} messages that ends with a user's turn.
    answer_field: a text; "": all rows have tests. If it is the question's, the last message of the list, which is the
      assistant's, is the answer.
    answer_needed: whether each row must have an answer. Otherwise a row with tests may lack it.
    tests_field: a list of tests.
    shown_tests: number of tests, from the first, that the question shows.
    level_field: name of a row's level; "": all are of the level "all".
    columns: columns that an entry keeps beside these; empty: all.
    held_out_fraction: share of all questions that is held out, without held-out problems of their own.
  """

  question_field: str
  answer_field: str
  answer_needed: bool = False
  tests_field: str = TESTS
  shown_tests: int = 0
  level_field: str
  columns: Collection[str] = ()
  held_out_fraction: float

  @property
  def kept(self) -> set[str] | None:
    """Columns that are read; None: all."""
    named = (self.question_field, self.answer_field, self.tests_field, self.level_field)
    return {*self.columns, *filter(None, named)} if self.columns else None


@dataclasses.dataclass(eq=False, kw_only=True)
class JsonLinesConfig(RowsConfig):
  """Files of problems to read.

  Attributes:
    file: one problem a line; a name that ends in ".parquet" is read as such.
    held_out_file: held-out problems; "": `file` is split by the hash of the question.
  """

  file: str
  held_out_file: str


class JsonLines(ProblemBuilder):
  """Problems of a file.

  An entry holds the whole row and, of a row with an answer, `answer` (what follows the mark) and `solution` (all of
  it). A column of the row's own by the name of `solution` or `level` stays as it is; one by the name of `question` or
  `answer` that is not the question or the answer is kept as `row_question` or `row_answer`. Of a conversation the
  `question` is the text of all messages, and a column `question` that holds the list is kept as `row_question`.
  """

  # A new version forces a rebuild: older ones accepted rows that are now refused.
  VERSION = tfds.core.Version("1.2.0")
  config_class = JsonLinesConfig

  def divided(self) -> SplitProblems:
    """The problems of both splits, in the order of the file."""
    config = self.builder_config
    problems = _read(config, config.file)
    if config.held_out_file:
      return separate(problems, _read(config, config.held_out_file))
    return divide(problems, config.held_out_fraction)


def _read(config: JsonLinesConfig, file: str) -> Iterator[Problem]:
  return problems(config, columns.read(file, config.kept) if file.endswith(".parquet") else rows.read(file))


def problems(config: RowsConfig, placed_rows: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[Problem]:
  """The problems of rows, each after its place.

  Raises: ValueError: a row makes none, in one line with the place; or no row has one of the columns that are named.
  """
  kept, absent, where = config.kept, set(config.columns), ""
  for where, row in placed_rows:
    absent.difference_update(row)
    try:
      yield _problem(config, row if kept is None else {name: row[name] for name in row if name in kept})
    except ValueError as error:
      raise ValueError(f"{where}: {error}") from error
  if where and absent:
    raise ValueError(f"task.columns: up to {where}, no row has {', '.join(map(repr, sorted(absent)))}")


def _problem(config: RowsConfig, row: dict[str, Any]) -> Problem:
  if config.tests_field != TESTS and config.tests_field in row:
    row = _with_ours(row, TESTS, row[config.tests_field], config.tests_field)
  reply = None
  if config.answer_field == config.question_field:
    row, reply = _parted(row, config.question_field)
  question = _question(row, config.question_field)
  solution = _solution(config, row) if reply is None else reply
  if config.shown_tests:
    question = _with_tests_shown(question, row.get(TESTS), config.shown_tests)
  level = _text(row, config.level_field) if config.level_field else "all"
  entry = _with_ours(row, "question", messages.text(question), config.question_field)
  if solution is None:
    entry.pop(config.answer_field, None)
    return Problem(question, level, entry)
  answer = solution.rpartition(ANSWER_MARK)[2].strip()
  if _blank(answer):
    raise RowError(f"nothing follows the last {ANSWER_MARK} of {config.answer_field!r}")
  entry = _with_ours(entry, "answer", answer, config.answer_field)
  if SOLUTION not in row or config.answer_field == SOLUTION:
    entry[SOLUTION] = solution
  return Problem(question, level, entry)


def _parted(row: dict[str, Any], field: str) -> tuple[dict[str, Any], str]:
  """A row without the last message of its conversation, and the text of that message."""
  conversation: Any = row.get(field)
  last = conversation[-1] if isinstance(conversation, list) and conversation else None
  if not isinstance(last, dict) or last.get("role") != "assistant":
    raise RowError(f"{field!r} is the question and the answer, and does not end with a message of the role 'assistant'")
  if not isinstance(last.get("content"), str):
    raise RowError(f"the 'content' of the last message of {field!r} is {rows.kind(last.get('content'))}, want text")
  if _blank(last["content"]):
    raise RowError(f"the last message of {field!r} is empty")
  return {**row, field: conversation[:-1]}, last["content"]


def _with_tests_shown(question: str, tests: Any, count: int) -> str:
  """The question with the first tests below it, which name what a program is to define."""
  shown = [test for test in tests[:count] if isinstance(test, str)] if isinstance(tests, list) else []
  if len(shown) < count or question.startswith(messages.MARK):
    raise RowError(f"task.shown_tests={count} wants a question that is text and as many tests that are Python code")
  return "\n".join([question, "", "Your code has to pass:", *shown])


def _solution(config: RowsConfig, row: Mapping[str, Any]) -> str | None:
  """Text that contains the answer; None for a row with tests instead."""
  field = config.answer_field
  missing = not field or row.get(field) is None or _blank(str(row[field]))
  if TESTS in row:
    _check_tests(row[TESTS], config.tests_field if config.tests_field in row else TESTS, alone=missing)
  if missing and TESTS in row and not config.answer_needed:
    return None
  if not field and config.answer_needed:
    raise RowError("no answer for the verifier: task.answer_field is empty")
  if not field:
    raise RowError(f"neither an answer (task.answer_field is empty) nor {config.tests_field!r}")
  return _text(row, field)


def _check_tests(tests: Any, field: str, *, alone: bool) -> None:
  """Raises: ValueError: they are no tests, or a program passes them by doing nothing.

  Args:
    alone: whether the row is scored by them or not at all. A row with an answer may have numbers under that name.
  """
  if not isinstance(tests, list) or not tests:
    raise RowError(f"{field!r} is {rows.kind(tests)}, want a list of unit tests" if tests else f"{field!r} is empty")
  for number, test in enumerate(tests, start=1):
    if alone or isinstance(test, str | list | dict):
      try:
        check_useful(test)
      except ValueError as error:
        raise RowError(f"{field!r}, number {number}: {error}") from error


def _with_ours(row: dict[str, Any], name: str, value: Any, field: str) -> dict[str, Any]:
  """The row with our value under `name`; its own value is kept under another name unless it is equal as text."""
  replaceable = name not in row or (field == name and not isinstance(row[name], list))
  own = {} if replaceable else {f"{OWN_COLUMN}{name}": row[name]}
  if own.keys() & row.keys():
    raise RowError(f"has both {name!r} and {OWN_COLUMN + name!r}, and {name!r} is to be {field!r}: rename one")
  return {**row, **own, name: value}


def _question(row: Mapping[str, Any], field: str) -> str:
  """Question in the form of `Problem`: text, or a list of messages."""
  if isinstance(row.get(field), list):
    conversation = messages.check(row[field])
    if _blank(conversation[-1]["content"]):
      raise RowError(f"the last message of {field!r} is empty")
    return messages.dumps(conversation)
  question = _text(row, field)
  if question.startswith(messages.MARK):
    raise RowError(f"{field!r} begins with the character NUL")
  return question


def _text(row: Mapping[str, Any], field: str) -> str:
  if field not in row:
    near = difflib.get_close_matches(field, row, n=1)
    names = ", ".join(repr(rows.short(name)) for name in [*row][:10])
    hint = f"; did you mean {near[0]!r}?" if near else f" (it has {names or 'none'})"
    raise RowError(f"no field {field!r}{hint}")
  if not isinstance(row[field], str | int | float):
    raise RowError(f"{field!r} is {rows.kind(row[field])}, want text")
  text = str(row[field])
  if _blank(text):
    raise RowError(f"{field!r} is empty")
  return text


def _blank(text: str) -> bool:
  """Return whether nothing is visible: only white space, control and format characters."""
  return all(unicodedata.category(character)[0] in "ZC" for character in text)
