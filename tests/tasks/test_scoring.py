"""Answers by named rule, numbers compared as numbers, verifiers by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rl_jax.tasks import scoring
from rl_jax.tasks.scoring import ANSWERS, Verdict, equal_numbers
from rl_jax.tasks.verifiers.in_process import InProcess


@pytest.mark.parametrize(
  ("rule", "response", "answer"),
  [
    ("tag", "<answer>1</answer> no, <answer>\n 2 3 </answer>.", "2 3"),
    ("tag", "<answer>1", None),
    ("line", "Answer: 1\nso\n  answer:  2 apples \nbye", "2 apples"),
    ("line", "The answer: 3", "3"),
    ("line", "the answers: 3", None),
    ("number", "3 x 4 = 12, or $1,234.50.", "1234.50"),
    ("number", "it is 7.", "7"),
    ("number", "from 10-3", "3"),
    ("number", "minus -.5", "-.5"),
    ("number", "none", None),
    ("whole", " 4 \n", "4"),
    ("choice", "**Answer:** (B) because A is 3.", "B"),
    ("choice", "A or B", None),
  ],
)
def test_answers_by_rule(rule, response, answer):
  assert ANSWERS[rule](response) == answer


@pytest.mark.parametrize(
  ("answer", "response", "reward"),
  [
    ("42", "<answer>42.0</answer>", 1.0),
    ("1,000", "<answer>$1000</answer>", 1.0),
    ("0.1", "<answer>0.10000000000000001</answer>", 0.0),
    ("Paris", "<answer>paris</answer>", 1.0),
    ("42", "<answer>42 apples</answer>", 0.0),
    ("42", "42", 0.0),
    ("42", "<answer></answer>", 0.0),
    ("", "<answer></answer>", 0.0),
    ("1e3", "<answer>NaN</answer>", 0.0),
    ("1e-05", "<answer>0.00001</answer>", 1.0),
    ("2.5e+22", "<answer>25000000000000000000000</answer>", 1.0),
    ("3/4", "<answer>0.75</answer>", 1.0),
    ("7/2", r"<answer>$3\frac{1}{2}$</answer>", 1.0),
    ("31/2", "<answer>3 1/2</answer>", 0.0),
    ("-5", "<answer>\u22125</answer>", 1.0),
    ("5", "<answer>\u20135</answer>", 0.0),
    ("12", "<answer>1,2</answer>", 0.0),
    ("12", "<answer>1 2</answer>", 0.0),
    ("5", "<answer>.5</answer>", 0.0),
    ("42", r"<answer>\boxed{**42**}</answer>", 1.0),
    ("42", "<answer>`42`</answer>", 1.0),
    ("$5", "<answer>5%</answer>", 0.0),
    ("5", "<answer>5%</answer>", 1.0),
    ("42", "<answer>13 = 42</answer>", 0.0),
    ("391", r"<answer>17 \cdot 23</answer>", 0.0),
  ],
)
def test_numbers_are_compared_as_numbers(answer, response, reward):
  assert equal_numbers(response, {"answer": answer}, answer="tag") == Verdict(reward, {})


@pytest.mark.parametrize(
  ("answer", "response", "reward"),
  [
    ("3/4", "it is 3/4", 1.0),
    ("4", "it is 3/4", 0.0),
    ("100000", "it is 1e5", 1.0),
    ("5", "it is 1e5", 0.0),
    ("1200", "it is 1{,}200.", 1.0),
    ("200", "it is 1 200", 0.0),
    ("-5", "it costs -$5", 1.0),
    ("5", "it costs \u2212$5", 0.0),
    ("30", "at 2:30", 0.0),
    ("10", "it is 5\u201310", 1.0),
    ("-10", "it is 5-10", 0.0),
    ("567", "it is 12,34,567", 0.0),
  ],
)
def test_the_last_number_is_never_a_piece_of_one(answer, response, reward):
  assert equal_numbers(response, {"answer": answer}, answer="number").reward == reward


def test_a_verifier_by_name_runs_in_this_process():
  score = InProcess("rl_jax.tasks.scoring:equal_numbers", {"answer": "number"})
  assert [v.reward for v in score([("so 5", {"answer": "5"}), ("so 6", {"answer": "5"})])] == [1.0, 0.0]


def test_a_verifier_of_a_file_is_found_from_any_folder(tmp_path, monkeypatch):
  """Workers have the search path of this process, but not its working directory."""
  monkeypatch.setattr(sys, "path", list(sys.path))
  monkeypatch.chdir(tmp_path)
  (tmp_path / "own_length.py").write_text("def reward(response, entry):\n  return len(response)\n")
  (tmp_path / "json.py").write_text("def reward(response, entry):\n  return 0\n")
  assert scoring.load("own_length.py:reward")("four", {}) == 4
  with pytest.raises(ValueError, match="cannot import 'json.py' .*json is another module, .*: rename the file"):
    scoring.load("json.py:reward")
  monkeypatch.chdir("/")
  score = InProcess("own_length.py:reward", {})
  assert [verdict.reward for verdict in score([("ab", {}), ("", {})])] == [2.0, 0.0]
  with pytest.raises(ValueError, match="cannot import 'no_such_reward.py'"):
    scoring.load("no_such_reward.py:reward")


@pytest.mark.parametrize(
  ("verifier", "message"),
  [
    ("rl_jax.tasks.scorings:x", "cannot import 'rl_jax.tasks.scorings'"),
    ("no_such_verifier.py:score", "cannot import 'no_such_verifier.py' .no such file in "),
    ("my_verifier.py", "got 'my_verifier.py', want 'package.module:function' or 'file.py:function'"),
    ("rl_jax.tasks.scoring:equals", "there is no 'equals' in rl_jax.tasks.scoring"),
    ("", "want 'package.module:function'"),
  ],
)
def test_a_verifier_that_is_not_there_is_one_clear_line(verifier, message):
  with pytest.raises(ValueError, match=message):
    InProcess(verifier, {})


def test_an_unknown_rule_is_one_clear_line():
  with pytest.raises(ValueError, match="task.answer: got 'tags', want one of tag, line, number, whole, choice"):
    scoring.rule("tags")


def test_workers_need_no_jax():
  code = "import sys, rl_jax.tasks.datasets.procedural; sys.exit('jax' in sys.modules)"
  assert subprocess.run([sys.executable, "-c", code]).returncode == 0
