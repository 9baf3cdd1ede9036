"""Problems from a file of JSON lines, or parquet, in the shape of GSM8K: {"question": "…", "answer": "… #### 42"}.

A row of a task of programs has {"question": "…", "tests": [{"input": "2 3", "output": "5"}]} instead. Columns of other
names are named by fields, or by a layout (`rl_jax.tasks.layouts`).

config.task = {"name": "rl_jax.tasks.json_lines", "file": "train.jsonl", "held_out_file": "test.jsonl"}
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from rl_jax.tasks import fields, host, layouts, scoring
from rl_jax.tasks.datasets.builder import ProblemBuilder
from rl_jax.tasks.datasets.json_lines import JsonLines
from rl_jax.tasks.datasets.prepare import prepare
from rl_jax.tasks.host import HostTask, Scorers
from rl_jax.tasks.prompting import Tokenizer
from rl_jax.tasks.verifier_arguments import bound_arguments, names_argument

RULE_WITHOUT_DEFAULT = "number"
"""Rule for finding the answer, for a verifier without a default."""


FIELDS = {
  # preset of the fields below, in place of those that keep their defaults: "gsm8k"; "math", a problem and its solution
  # with a box; "messages", of which the last is the answer; "code", text and test_list; "": none
  "layout": "",
  # a text; or a list of {"role": "user", "content": "…"} messages, put into the model's chat template as they are
  "question_field": "question",
  # what follows "####" is the answer; all of it without that mark. A row with tests may lack it, unless the verifier
  # takes `answer`; "": all rows do. If it is `question_field`, the last of the messages, the assistant's, is the answer
  "answer_field": "answer",
  "tests_field": "tests",  # a list of tests of a program
  "shown_tests": 0,  # number of tests, from the first, that a question shows below itself
  "level_field": "",  # key that names a problem's level; "": one level
  "columns": (),  # names of columns that a verifier is told beside those above; (): all
  "held_out_fraction": 0.125,  # share of all questions that is never trained on, without held-out problems of their own
  # how the answer is found: last "number"; last <answer> "tag"; "line" Answer: …; "choice", the letter of an option;
  # "whole" text, in which mathematics:equal_answers looks for the final answer; "": as the verifier does by default,
  # "number" where it has no default of its own
  "answer": "",
  # function (response, entry, **verifier_arguments) -> Verdict, which is told `answer` too if it takes one:
  # "rl_jax.tasks.verifiers.mathematics:equal_answers" compares formulas,
  # "rl_jax.tasks.verifiers.programs:unit_tests" runs programs
  "verifier": "rl_jax.tasks.scoring:equal_numbers",
  "verifier_arguments": {},
  **host.FIELDS,
}
"""Config fields of tasks whose problems are rows."""


def get_config() -> dict[str, Any]:
  """Fields and their defaults."""
  return {
    "file": "",  # one problem a line; read as parquet if its name ends so
    "held_out_file": "",  # "": `file` is split by the hash of the question; else its questions are taken out of train
    **FIELDS,
  }


def build(
  config: Mapping[str, Any],
  *,
  vocabulary: Tokenizer | None = None,
  scorers: Scorers | None = None,
) -> HostTask:
  """The task of `config` (fields as in `get_config`).

  Args:
    vocabulary: instead of the tokenizer that the config names.
    scorers: instead of the verifier and the terms that the config names, in worker processes.

  Raises: ValueError: in one line, for a field that makes no sense and for a file that is missing or malformed.
  """
  config = complete(config, get_config(), ("file", "held_out_file"))
  places = {
    "file": _absolute(config["file"], "file"),
    "held_out_file": _absolute(config["held_out_file"], "held_out_file") if config["held_out_file"] else "",
  }
  files = {name: _sha256(file, name) for name, file in places.items() if file}
  return build_from(JsonLines, places, files, config, vocabulary, scorers)


def complete(config: Mapping[str, Any], defaults: Mapping[str, Any], texts: Collection[str]) -> dict[str, Any]:
  """The config over its defaults and those of its layout.

  Args:
    texts: fields of the source that are text, as some of `FIELDS` are.

  Raises: ValueError: in one line, for a field that makes no sense.
  """
  config = fields.complete(config, defaults, where="task")
  own = ("layout", "question_field", "answer_field", "tests_field", "level_field", "verifier", "answer")
  for name in (*texts, *own):
    if not isinstance(config[name], str):
      raise ValueError(f"task.{name}: got {config[name]!r}, want text")
  config = layouts.applied(config, defaults)
  fields.whole(config["shown_tests"], 0, 1024, where="task.shown_tests")
  if not all(isinstance(name, str) for name in config["columns"]):
    raise ValueError(f"task.columns: got {config['columns']!r}, want names of columns")
  if config["answer"]:
    scoring.rule(config["answer"])
  return config


def build_from(
  builder: type[ProblemBuilder],
  places: Mapping[str, str],
  source: Mapping[str, str],
  config: Mapping[str, Any],
  vocabulary: Tokenizer | None,
  scorers: Scorers | None,
) -> HostTask:
  """The task of a source of rows.

  Args:
    builder: builder of the data, whose config has the fields of `RowsConfig` and `places`.
    places: fields that name the source.
    source: hashes of the content, in place of fields that name where it is.
    config: completed by `complete`.
    vocabulary, scorers: as in `build`.

  Raises: ValueError: in one line, for rows that make no problem.
  """
  arguments = {} if scorers else _arguments(config)
  columns = ("question_field", "answer_field", "tests_field", "shown_tests", "level_field")
  settings = {
    **places,
    "held_out_fraction": fields.number(config["held_out_fraction"], 1 / 64, 1 / 2, where="task.held_out_fraction"),
    **{name: config[name] for name in columns},
    "columns": list(config["columns"]),
    "answer_needed": not scorers and names_argument(config["verifier"], "answer"),
  }
  return host.build(
    prepare(builder, settings, source),
    config,
    vocabulary=vocabulary or host.pretrained_vocabulary(config["tokenizer"]),
    scorers=scorers or host.scorers(config["verifier"], arguments, config),
  )


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
  """Arguments of the verifier, with a rule for answers if it takes one."""
  offered = {"answer": config["answer"]} if config["answer"] else {}
  return bound_arguments(
    config["verifier"], offered, config["verifier_arguments"], fallback={"answer": RULE_WITHOUT_DEFAULT}
  )


def _absolute(file: str, field: str) -> str:
  if not file:
    raise ValueError(f"task.{field} is missing: name a file of JSON lines or parquet")
  file = os.path.expanduser(file)
  try:
    exists = Path(file).is_file()
  except OSError as error:
    raise ValueError(f"task.{field}: cannot look for {file[:80]!r} ({error.strerror})") from error
  if Path(file).is_dir():
    raise ValueError(f"task.{field}: {file!r} is a folder: name a file, or read it by task.name=hugging_face:{file}")
  if not exists:
    raise ValueError(f"task.{field}: no file {file!r} in {Path.cwd()}")
  return str(Path(file).resolve())


def _sha256(file: str, field: str) -> str:
  try:
    with Path(file).open("rb") as stream:
      return hashlib.file_digest(stream, "sha256").hexdigest()
  except OSError as error:
    raise ValueError(f"task.{field}: cannot read {file} ({error.strerror})") from error
