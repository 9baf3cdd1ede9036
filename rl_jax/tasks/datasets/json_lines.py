"""TFDS builder of problems from JSON lines in the shape of GSM8K: {"question": "…", "answer": "… #### 42"}."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from rl_jax.tasks.datasets.builder import ProblemBuilder
from rl_jax.tasks.datasets.problems import Divided, Problem, divide, separate

ANSWER_MARK = "####"


@dataclasses.dataclass(eq=False, kw_only=True)
class JsonLinesConfig(tfds.core.BuilderConfig):
  """Which files are read, and how.

  Attributes:
    file: one problem a line.
    held_out_file: what is held out; "": `file` is split by the hash of the question.
    question_field, answer_field: keys of a line.
    level_field: key of a line that names its level; "": all are of the level "all".
    held_out_fraction: share of all questions that is held out, without `held_out_file`.
  """

  file: str
  held_out_file: str
  question_field: str
  answer_field: str
  level_field: str
  held_out_fraction: float


class JsonLines(ProblemBuilder):
  """Problems of a JSON lines file. An entry holds the whole line, `answer` (what follows the mark) and `solution`."""

  config_class = JsonLinesConfig

  def divided(self) -> Divided:
    """The problems of both splits, in the order of the file."""
    config = self.builder_config
    problems = _read(config, config.file)
    if config.held_out_file:
      return separate(problems, _read(config, config.held_out_file))
    return divide(problems, config.held_out_fraction)


def _read(config: JsonLinesConfig, file: str) -> Iterator[Problem]:
  with Path(file).open(encoding="utf-8") as lines:
    for number, line in enumerate(lines, start=1):
      if line.strip():
        yield _problem(config, line, f"{file}, line {number}")


def _problem(config: JsonLinesConfig, line: str, where: str) -> Problem:
  try:
    row = json.loads(line)
  except json.JSONDecodeError as error:
    raise ValueError(f"{where}: no JSON ({error})") from error
  if not isinstance(row, dict):
    raise ValueError(f"{where}: got a {type(row).__name__}, want an object with {config.question_field!r}")
  question = _text(row, config.question_field, where)
  solution = _text(row, config.answer_field, where)
  level = _text(row, config.level_field, where) if config.level_field else "all"
  answer = solution.rpartition(ANSWER_MARK)[2].strip()
  return Problem(question, level, {**row, "question": question, "answer": answer, "solution": solution})


def _text(row: dict[str, Any], field: str, where: str) -> str:
  if field not in row:
    near = difflib.get_close_matches(field, row, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f" (it has {', '.join(row) or 'none'})"
    raise ValueError(f"{where}: no field {field!r}{hint}")
  if not isinstance(row[field], str | int | float):
    raise ValueError(f"{where}: {field!r} is a {type(row[field]).__name__}, want text")
  return str(row[field])
