"""Problems of JSON lines: what an entry holds, and rows without a gold answer or test that can be wrong."""

from __future__ import annotations

import json

import pytest

from rl_jax.tasks import layouts, messages
from rl_jax.tasks.datasets import entries, json_lines

PASS = "assert f(1) == 1"
SUM = {"input": "2 3", "output": "5"}
FIELDS = {
  "file": "x", "held_out_file": "", "question_field": "question", "answer_field": "answer", "level_field": "",
  "held_out_fraction": 0.25,
}  # fmt: skip


def problems(folder, lines, **fields):
  """The problems of lines, each JSON text or a row."""
  file = folder / "rows.jsonl"
  file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
  config = json_lines.JsonLinesConfig(name="x", **{**FIELDS, "file": str(file), **fields})
  return list(json_lines._read(config, str(file)))


def problem(folder, row, **fields):
  (made,) = problems(folder, [row], **fields)
  assert entries.loads(entries.dumps(made.entry)) == made.entry
  return made


def test_an_entry_holds_the_row_the_answer_and_all_of_the_solution(tmp_path):
  made = problem(tmp_path, {"question": "q", "answer": "so #### 4", "n": 0.5})
  assert made.question == "q" and made.level == "all"
  assert made.entry == {"question": "q", "answer": "4", "n": 0.5, "solution": "so #### 4"}


@pytest.mark.parametrize(
  ("number", "text"), [("2.50", "2.50"), ("0.00001", "0.00001"), ("1e-05", "1e-05"), ("-7", "-7"), ("0", "0")]
)
def test_a_number_is_a_gold_as_it_was_written(tmp_path, number, text):
  assert problem(tmp_path, f'{{"question": "q", "answer": {number}}}').entry["answer"] == text


def test_columns_of_the_rows_own_are_kept(tmp_path):
  row = {"problem": "q", "target": "4", "question": "?", "answer": "A", "solution": "why", "level": 5}
  fields = {"question_field": "problem", "answer_field": "target"}
  assert problem(tmp_path, row, **fields).entry == {
    **row, "question": "q", "answer": "4", "row_question": "?", "row_answer": "A",
  }  # fmt: skip
  assert problem(tmp_path, {"question": "q", "solution": "so #### 4"}, answer_field="solution").entry == {
    "question": "q", "answer": "4", "solution": "so #### 4",
  }  # fmt: skip
  with pytest.raises(ValueError, match="line 1: has both 'answer' and 'row_answer', and 'answer' is to be 'target'"):
    problem(tmp_path, {**row, "row_answer": "B"}, **fields)


@pytest.mark.parametrize("row", [{}, {"answer": ""}, {"answer": None}, {"answer": " \n"}])
@pytest.mark.parametrize("field", ["", "answer"])
def test_tests_stand_for_an_answer(tmp_path, row, field):
  if field or not row:
    made = problem(tmp_path, {"question": "q", "tests": [PASS, SUM], **row}, answer_field=field)
    assert made.entry == {"question": "q", "tests": [PASS, SUM]}


def test_a_row_may_have_tests_and_an_answer(tmp_path):
  row = {"question": "q", "answer": "4", "tests": [PASS]}
  assert problem(tmp_path, row).entry == {**row, "solution": "4"}
  assert problem(tmp_path, row | {"tests": [3]}).entry["tests"] == [3], "numbers are no tests, but there is an answer"


TALK = [{"role": "system", "content": "Brief."}, {"role": "user", "content": "How  many?"}]


@pytest.mark.parametrize(("field", "kept"), [("question", "row_question"), ("prompt", "prompt")])
def test_a_question_may_be_a_conversation(tmp_path, field, kept):
  made = problem(tmp_path, {field: TALK, "answer": "4"}, question_field=field)
  assert messages.loads(made.question) == TALK
  assert made.entry == {"question": "Brief.\n\nHow  many?", kept: TALK, "answer": "4", "solution": "4"}


def layout(name, **fields):
  """Fields of columns in a layout."""
  preset = layouts.LAYOUTS[name]
  return {field: value for field, value in preset.items() if field not in ("answer", "verifier")} | fields


def test_the_layouts_of_gsm8k_and_of_math(tmp_path):
  row = {"question": "q", "answer": "so #### 4"}
  assert problem(tmp_path, row, **layout("gsm8k")) == problem(tmp_path, row)
  row = {"problem": "p", "level": "Level 3", "type": "Algebra", "solution": r"so $\boxed{\frac{1}{2}}$"}
  made = problem(tmp_path, row, **layout("math"))
  assert (made.question, made.level) == ("p", "Level 3")
  assert made.entry == {**row, "question": "p", "answer": row["solution"]}


def test_the_last_of_a_list_of_messages_may_be_the_answer(tmp_path):
  reply = {"role": "assistant", "content": "so #### 4"}
  made = problem(tmp_path, {"messages": [*TALK, reply], "answer": "own"}, **layout("messages"))
  assert messages.loads(made.question) == TALK
  assert made.entry == {
    "question": "Brief.\n\nHow  many?", "messages": TALK, "answer": "4", "row_answer": "own", "solution": "so #### 4",
  }  # fmt: skip
  end = "line 1: 'messages' is the question and the answer, and does not end with a message of the role 'assistant'"
  for talk, message in (
    (TALK, end),
    ([], end),
    ("q", end),
    ([*TALK, {**reply, "content": " "}], "line 1: the last message of 'messages' is empty"),
    ([*TALK, {**reply, "content": [{"type": "text"}]}], "the 'content' of the last message of 'messages' is a list"),
    ([TALK[0], reply], "wants a message of the role 'user' at its end"),
  ):
    with pytest.raises(ValueError, match=message):
      problem(tmp_path, {"messages": talk}, **layout("messages"))


def test_the_layout_of_code_shows_the_first_of_its_tests(tmp_path):
  row = {"text": "Add one.", "code": "def f(x): …", "test_list": [PASS, "assert f(2) == 3"]}
  made = problem(tmp_path, row, **layout("code"))
  assert made.question == f"Add one.\n\nYour code has to pass:\n{PASS}"
  assert made.entry == {**row, "question": made.question, "tests": row["test_list"]}
  assert problem(tmp_path, row, **layout("code", shown_tests=0)).question == "Add one."
  for tests, message in (
    ([SUM], "task.shown_tests=1 wants a question that is text and as many tests that are Python code"),
    ([], "'test_list' is empty"),
    (None, "'test_list' is empty"),
    (PASS, "'test_list' is text, want a list of unit tests"),
    (["assert f("], "'test_list', number 1: a unit test that is no Python"),
  ):
    with pytest.raises(ValueError, match=f"line 1: {message}"):
      problem(tmp_path, {**row, "test_list": tests}, **layout("code"))
  with pytest.raises(ValueError, match="neither an answer .* nor 'test_list'"):
    problem(tmp_path, {"text": "Add one."}, **layout("code"))


def test_an_entry_keeps_the_columns_that_are_named(tmp_path):
  row = {"question": "q", "answer": "4", "kind": "k", "other": 1}
  assert problem(tmp_path, row, columns=["kind"]).entry == {
    "question": "q", "answer": "4", "solution": "4", "kind": "k",
  }  # fmt: skip


def test_a_layout_stands_for_fields_that_keep_their_defaults():
  defaults = {"layout": "", **FIELDS, "verifier": "v"}
  assert layouts.applied({**defaults, "layout": "math", "level_field": "type"}, defaults) == {
    **defaults, "layout": "math", "question_field": "problem", "answer_field": "solution", "level_field": "type",
    "verifier": layouts.LAYOUTS["math"]["verifier"],
  }  # fmt: skip
  with pytest.raises(ValueError, match="task.layout: got 'maths', want one of gsm8k, math, messages, code, or ''"):
    layouts.applied({**defaults, "layout": "maths"}, defaults)


BLANK = ["", "  \n", "\u200b\ufeff", "\u0000\u001b"]


@pytest.mark.parametrize(
  ("row", "message"),
  [
    *[({"answer": text}, "'answer' is empty") for text in BLANK],
    *[({"answer": f"work ####{text}"}, "nothing follows the last #### of 'answer'") for text in BLANK],
    ({"answer": "#### 4 ####"}, "nothing follows the last #### of 'answer'"),
    *[({"question": text, "answer": "1"}, "'question' is empty") for text in BLANK],
    ({"answer": None}, "'answer' is null, want text"),
    ({"answer": {"a": 1}}, "'answer' is an object, want text"),
    ({"question": {"role": "user", "content": "q"}, "answer": "1"}, "'question' is an object, want text"),
    ({"question": "\0messages[]", "answer": "1"}, "'question' begins with the character NUL"),
    ({"question": [], "answer": "1"}, "wants a message of the role 'user' at its end"),
    ({"question": ["q"], "answer": "1"}, "message 1 is 'q', want an object with 'role' and 'content' alone"),
    ({"question": [{"role": "user", "content": " "}], "answer": "1"}, "the last message of 'question' is empty"),
    ({"anwser": "1"}, "no field 'answer'; did you mean 'anwser'?"),
    ({"gold": "1"}, "no field 'answer' (it has 'question', 'gold')"),
    ({"tests": []}, "'tests' is empty"),
    ({"tests": [], "answer": "1"}, "'tests' is empty"),
    ({"tests": None}, "'tests' is empty"),
    ({"tests": PASS}, "'tests' is text, want a list of unit tests"),
    ({"tests": SUM, "answer": "1"}, "'tests' is an object, want a list of unit tests"),
    *[({"tests": [PASS, text]}, "'tests', number 2: a unit test without code") for text in BLANK[:2]],
    ({"tests": [""], "answer": "1"}, "'tests', number 1: a unit test without code is passed by any program"),
    ({"tests": [{"input": "", "output": ""}]}, "'tests', number 1: a unit test whose output is blank"),
    ({"tests": [{"input": "1", "output": "\n"}]}, "'tests', number 1: a unit test whose output is blank"),
    ({"tests": [{"output": "1"}]}, "'tests', number 1: a unit test is Python code or"),
    ({"tests": [SUM, {"input": "1"}]}, "'tests', number 2: a unit test is Python code or"),
    ({"tests": [{"input": 1, "output": 2}]}, "'tests', number 1: a unit test is Python code or"),
    ({"tests": [3]}, "'tests', number 1: a unit test is Python code or"),
    ({"tests": [[PASS]], "answer": "1"}, "'tests', number 1: a unit test is Python code or"),
  ],
)
def test_rows_that_silence_would_solve_are_one_line_with_their_place(tmp_path, row, message):
  with pytest.raises(ValueError) as error:
    problems(tmp_path, [{"question": "q", "answer": "1"}, {"question": "q", **row}])
  said = str(error.value)
  assert said.startswith(f"{tmp_path}/rows.jsonl, line 2: ") and message in said and said.isprintable()


def test_a_row_has_an_answer_or_tests(tmp_path):
  with pytest.raises(ValueError, match=r"line 1: neither an answer \(task.answer_field is empty\) nor 'tests'"):
    problem(tmp_path, {"question": "q", "answer": "1"}, answer_field="")


@pytest.mark.parametrize(
  ("row", "field", "message"),
  [
    ({}, "answer", "no field 'answer' (it has 'question', 'tests')"),
    ({"answer": ""}, "answer", "'answer' is empty"),
    ({"answer": "4 ####"}, "answer", "nothing follows the last #### of 'answer'"),
    ({"answer": "4"}, "", "no answer for the verifier: task.answer_field is empty"),
  ],
)
def test_tests_do_not_stand_for_an_answer_that_is_needed(tmp_path, row, field, message):
  with pytest.raises(ValueError) as error:
    problem(tmp_path, {"question": "q", "tests": [PASS], **row}, answer_field=field, answer_needed=True)
  assert f"line 1: {message}" in str(error.value)


def test_a_line_is_short_whatever_the_row_has(tmp_path):
  with pytest.raises(ValueError, match=r"no field 'question' \(it has '0aaaaaaaaaaaaaaaa…', ") as error:
    problem(tmp_path, {f"{n}{'a' * 100_000}": 1 for n in range(50)})
  assert len(str(error.value)) < 400


@pytest.mark.parametrize(("level", "message"), [("", "'level' is empty"), ([1], "'level' is a list")])
def test_a_level_has_a_name(tmp_path, level, message):
  with pytest.raises(ValueError, match=message):
    problem(tmp_path, {"question": "q", "answer": "1", "level": level}, level_field="level")
