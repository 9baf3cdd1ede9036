"""A file in the shape of GSM8K end to end: prepared, put to the policy, scored."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rl_jax.tasks import json_lines
from rl_jax.tasks.host import Scorers
from rl_jax.tasks.scoring import Verdict
from tests.tasks.byte_vocabulary import ChatBytes, responses


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv("RL_JAX_CACHE", str(tmp_path / "cache"))


def write(file, rows):
  file.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return str(file)


def gsm(numbers):
  return [
    {"question": f"Ann has {n} eggs and buys 1000. How many?", "answer": f"{n}+1000=<<{n}+1000>>\n#### {n + 1000:,}"}
    for n in numbers
  ]


def build(file, **fields):
  return json_lines.build({"workers": 0, "file": file, **fields}, vocabulary=ChatBytes())


def numbers_of(task, split):
  prompts = task.prompts(np.arange(task.sizes[split]), split)
  texts = [ChatBytes().decode(row[kept]) for row, kept in zip(prompts.tokens, prompts.mask, strict=True)]
  assert all(text.startswith("[user]Ann has ") and text.endswith("How many?\n[assistant]") for text in texts)
  return [int(text.split()[2]) for text in texts]


def test_a_file_from_lines_to_rewards(tmp_path):
  task = build(write(tmp_path / "train.jsonl", gsm(range(60))))
  train, held_out = numbers_of(task, "train"), numbers_of(task, "held_out")
  assert sorted(train + held_out) == list(range(60)) and held_out and task.levels == ("all",)
  for split, numbers in (("train", train), ("held_out", held_out)):
    texts = [f"{n} and 1000 are ${n + 1000}.00" if row % 2 else f"{n}" for row, n in enumerate(numbers)]
    rewards = task.verify(np.arange(len(numbers)), split, *responses(texts)).rewards
    assert rewards.tolist() == [float(row % 2) for row in range(len(numbers))]


def test_a_held_out_file_is_taken_out_of_train(tmp_path):
  train = write(tmp_path / "train.jsonl", gsm(range(10)))
  task = build(train, held_out_file=write(tmp_path / "test.jsonl", gsm(range(8, 12))))
  assert numbers_of(task, "train") == list(range(8)) and numbers_of(task, "held_out") == [8, 9, 10, 11]


def test_fields_and_levels_by_name(tmp_path):
  rows = [{"problem": f"{i}?", "target": i, "kind": "even" if i % 2 == 0 else "odd"} for i in range(40)]
  task = build(write(tmp_path / "a.jsonl", rows), question_field="problem", answer_field="target", level_field="kind")
  prompts = task.prompts(np.arange(task.sizes["train"]), "train")
  assert task.levels == ("even", "odd") and set(prompts.levels.tolist()) == {0, 1}


def test_the_fingerprint_is_that_of_the_content_not_of_the_place(tmp_path):
  here = build(write(tmp_path / "a.jsonl", gsm(range(40)))).fingerprint
  assert build(write(tmp_path / "b.jsonl", gsm(range(40)))).fingerprint == here
  rows = gsm(range(40))
  rows[3]["answer"] = "#### 0"
  assert build(write(tmp_path / "a.jsonl", rows)).fingerprint != here, "a changed file is prepared again"


@pytest.mark.parametrize(
  ("lines", "fields", "message"),
  [
    (None, {}, "task.file: no file"),
    (None, {"file": ""}, "task.file is missing"),
    ('{"question": "a", "answer": "b"}\n{"question": "a"', {}, "line 2: no JSON"),
    ("[1]\n", {}, "line 1: got a list, want an object"),
    ('{"questions": "a", "answer": "b"}\n', {}, "line 1: no field 'question'; did you mean 'questions'?"),
    ('{"question": "a", "answer": ["b"]}\n', {}, "line 1: 'answer' is a list, want text"),
    ("", {}, "has no problem"),
  ],
)
def test_bad_files_are_one_clear_line(tmp_path, lines, fields, message):
  if lines is not None:
    (tmp_path / "x.jsonl").write_text(lines)
  with pytest.raises(ValueError) as error:
    build(**{"file": str(tmp_path / "x.jsonl"), **fields})
  assert message in str(error.value) and "\n" not in str(error.value)


CODE = "```python\nprint(sum(map(int, input().split())))\n```"


def code_rows(numbers):
  return [{"question": f"Add {n}.", "tests": [{"input": f"{n} 3", "output": str(n + 3)}]} for n in numbers]


def test_programs_are_scored_by_the_tests_of_their_rows(tmp_path):
  file = write(tmp_path / "train.jsonl", code_rows(range(30)))
  task = build(file, verifier="rl_jax.tasks.verifiers.programs:unit_tests", verifier_arguments={"reward": "share"})
  verdicts = task.verify(np.arange(2), "train", *responses([CODE, "```\nprint(0)\n```"]))
  assert verdicts.rewards.tolist() == [1.0, 0.0] and verdicts.reward_mask.all() and task.notes() == []


def test_a_verifier_finds_answers_by_its_own_rule_unless_another_is_named(tmp_path):
  pytest.importorskip("math_verify", reason="math-verify is not installed: make tasks")
  golds = ["\\frac{3}{4}", "(-1, 5]", "x^2+1", "\\sqrt{3}", "(1, 2)", "\\{1, 2\\}", "2\\pi", "B", "17"]
  rows = [{"question": f"{n}?", "answer": golds[n % len(golds)]} for n in range(40)]
  file = write(tmp_path / "a.jsonl", rows)
  mathematics = {"verifier": "rl_jax.tasks.verifiers.mathematics:equal_answers"}
  task = build(file, **mathematics)
  prompts = task.prompts(np.arange(task.sizes["train"]), "train")
  numbers = [int(ChatBytes().decode(row[kept]).removeprefix("[user]").partition("?")[0])
             for row, kept in zip(prompts.tokens, prompts.mask, strict=True)]  # fmt: skip
  texts = responses([f"So it is \\boxed{{{golds[n % len(golds)]}}}." for n in numbers])
  rewards = task.verify(np.arange(len(numbers)), "train", *texts).rewards
  assert rewards.tolist() == [1.0] * len(numbers)
  by_number = build(file, **mathematics, answer="number").verify(np.arange(len(numbers)), "train", *texts).rewards
  assert 0 < by_number.sum() < len(numbers), "a rule that a person names is the one that is used"


def test_a_verifier_is_given_the_columns_of_the_row(tmp_path):
  seen = []

  def score(items):
    seen.extend(entry for _, entry in items)
    return [Verdict(1.0)] * len(items)

  rows = [{"question": f"{n}?", "answer": "a #### 4", "level": 5, "solution": ["x"], "kind": "k"} for n in range(30)]
  fields = {"file": write(tmp_path / "train.jsonl", rows), "level_field": "kind"}
  task = json_lines.build(fields, vocabulary=ChatBytes(), scorers=Scorers(score))
  task.verify(np.arange(1), "train", *responses(["4"]))
  assert task.levels == ("k",) and seen == [{**rows[0], "question": seen[0]["question"], "answer": "4"}]


def test_rows_of_programs_have_nothing_for_a_verifier_of_answers(tmp_path):
  with pytest.raises(ValueError, match=r"train.jsonl, line 1: no field 'answer' \(it has 'question', 'tests'\)"):
    build(write(tmp_path / "train.jsonl", code_rows(range(4))))


def test_conversations_are_put_as_they_are_and_a_byte_order_mark_is_skipped(tmp_path):
  talk = lambda n: [{"role": "assistant", "content": "Ask!"}, {"role": "user", "content": f"{n}+1?"}]
  rows = [{"messages": talk(n), "answer": n + 1} for n in range(30)]
  (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8-sig")
  task = build(str(tmp_path / "train.jsonl"), question_field="messages")
  prompts = task.prompts(np.arange(2), "train")
  texts = [ChatBytes().decode(row[kept]) for row, kept in zip(prompts.tokens, prompts.mask, strict=True)]
  numbers = [int(text.removeprefix("[assistant]Ask!\n[user]").partition("+")[0]) for text in texts]
  assert task.verify(np.arange(2), "train", *responses([str(n + 1) for n in numbers])).rewards.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"verifier": "rl_jax.tasks.scoring:equal"}, "task.verifier: there is no 'equal' in rl_jax.tasks.scoring"),
    (
      {"verifier_arguments": {"form": "any"}},
      "task.verifier_arguments: rl_jax.tasks.scoring:equal_numbers takes no argument 'form' (known: answer)",
    ),
    (
      {"verifier": "rl_jax.tasks.verifiers.rewards:pattern"},
      "task.verifier_arguments: rl_jax.tasks.verifiers.rewards:pattern needs the argument 'regex' (known: regex)",
    ),
    ({"file": "a" * 5000}, "task.file: cannot look for 'aaa"),
    ({"file": 3}, "task.file: got 3, want text"),
    ({"question_field": ["question"]}, "task.question_field: got ['question'], want text"),
    ({"answer_field": None}, "task.answer_field: got None, want text"),
    ({"verifier": 3}, "task.verifier: got 3, want text"),
    ({"answer": ["number"]}, "task.answer: got ['number'], want text"),
    ({"answer": "numbers"}, "task.answer: got 'numbers', want one of tag, line, number, whole, choice"),
    ({"training_terms": [1]}, "task.training_terms: got [1], want names, each with a mapping of fields"),
    ({"training_terms": {"a": "b"}}, "task.training_terms.a: got 'b', want a mapping of fields"),
    ({"failed_responses": [1]}, "task.failed_responses: got [1], want one of zero, unscored"),
    ({"verifier_arguments": ["answer"]}, "task.verifier_arguments: got ['answer'], want names and values"),
    ({"chat_template_arguments": [1]}, "task.chat_template_arguments: got [1], want names and values"),
  ],
)
def test_fields_that_make_no_sense_are_one_clear_line(tmp_path, fields, message):
  with pytest.raises(ValueError) as error:
    build(**{"file": write(tmp_path / "train.jsonl", gsm(range(4))), **fields})
  assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("source", "message"),
  [
    ("def verify(:\n", "cannot import 'odd_{n}' (SyntaxError: invalid syntax"),
    ("1 / 0\n", "cannot import 'odd_{n}' (ZeroDivisionError: division by zero, {file}, line 1)"),
    ("import sys\nsys.exit(2)\n", "cannot import 'odd_{n}' (SystemExit: 2, {file}, line 2)"),
    ("raise TypeError('a\\nb')\n", "cannot import 'odd_{n}' (TypeError: a b, {file}, line 1)"),
    ("from os import nothing\n", "cannot import 'odd_{n}' (ImportError: cannot import name 'nothing'"),
    ("import no_such_thing\n", "cannot import 'odd_{n}' (No module named 'no_such_thing', {file}, line 1)"),
  ],
)
def test_a_verifier_whose_module_fails_is_one_clear_line(tmp_path, monkeypatch, source, message):
  name = f"odd_{abs(hash(source))}"
  (tmp_path / f"{name}.py").write_text(source)
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(ValueError) as error:
    build(write(tmp_path / "train.jsonl", gsm(range(4))), verifier=f"{name}:verify")
  expected = message.replace("odd_{n}", name).replace("{file}", str(tmp_path / f"{name}.py"))
  assert f"task.verifier: {expected}" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"slots": "a"}, "unit_tests: slots is 'a', want a whole number from 0 to 4096"),
    ({"slots": -1}, "unit_tests: slots is -1, want"),
    ({"slots": 10**9}, "unit_tests: slots is 1000000000, want"),
    ({"slots": True}, "unit_tests: slots is True, want"),
    ({"service": 3}, "service: got 3, want the address of a run_code service"),
    ({"limits": 3}, "unit_tests: limits is 3, want names and numbers"),
    ({"limits": {"seconds": "a"}}, "unit_tests: limits.seconds is 'a', want a finite number"),
    ({"limits": {"memory_bytes": float("inf")}}, "unit_tests: limits.memory_bytes is inf, want a finite number"),
  ],
)
def test_arguments_of_unit_tests_that_make_no_sense_are_one_clear_line(tmp_path, arguments, message):
  file = write(tmp_path / "train.jsonl", code_rows(range(4)))
  with pytest.raises(ValueError) as error:
    build(file, verifier="rl_jax.tasks.verifiers.programs:unit_tests", verifier_arguments=arguments)
  assert message in str(error.value) and "\n" not in str(error.value)
