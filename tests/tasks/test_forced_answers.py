"""Right answers as a response would write them: texts by hand, widths, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from rl_jax.tasks import host
from rl_jax.tasks.forced_answers import writer
from rl_jax.tasks.host import Scorers
from tests.tasks.byte_vocabulary import Bytes

ENTRIES = [{"question": "1+1", "answer": "2"}, {"question": "9+9", "answer": 18}]


def texts(metadata):
  tokens, mask = metadata["forced_answer"], metadata["forced_answer_mask"]
  return [Bytes().decode(row[kept]) for row, kept in zip(tokens, mask, strict=True)]


def written(rule, width=32):
  """(opening, answers)"""
  form = writer({"answer": rule, "forced_answer_tokens": width}, Bytes())
  return Bytes().decode(form.forced_answer().opening), texts(form.metadata(ENTRIES))


def test_answers_have_the_form_that_the_rule_finds():
  assert written("tag") == ("<answer>", ["2</answer><end>", "18</answer><end>"])
  assert written("line") == ("Answer:", [" 2<end>", " 18<end>"])
  assert written("number") == written("whole") == ("", ["2<end>", "18<end>"])


def test_long_answers_are_cut_and_short_ones_padded():
  metadata = writer({"answer": "number", "forced_answer_tokens": 2}, Bytes()).metadata(ENTRIES)
  assert texts(metadata) == ["2<end>", "18"]
  one = writer({"answer": "number", "forced_answer_tokens": 4}, Bytes()).metadata(ENTRIES[:1])
  assert one["forced_answer"].tolist() == [[ord("2"), Bytes.end_id, Bytes.pad_id, Bytes.pad_id]]
  assert one["forced_answer_mask"].tolist() == [[True, True, False, False]]


def test_no_problem_has_arrays_of_the_same_width():
  """The shapes of a phase that names no problem."""
  metadata = writer({"answer": "tag", "forced_answer_tokens": 3}, Bytes()).metadata([])
  assert metadata["forced_answer"].shape == metadata["forced_answer_mask"].shape == (0, 3)


def test_a_host_task_puts_them_into_its_prompts():
  class Data:
    fingerprint = "f"
    questions = {split: ["1+1", "9+9"] for split in ("train", "held_out")}
    levels = {split: ["a", "a"] for split in ("train", "held_out")}

    def entries(self, places, split):
      return [ENTRIES[place] for place in places]

  fields = {"prompt_tokens": 6, "response_tokens": 8, "answer": "line"}
  build = lambda width: host.build(
    Data(), {**host.FIELDS, **fields, "forced_answer_tokens": width}, vocabulary=Bytes(), scorers=Scorers(lambda _: [])
  )
  prompts = build(8).prompts(np.array([1, 0]), "train")
  assert texts(prompts.metadata) == [" 18<end>", " 2<end>"]
  tokens, mask = build(8).forced_answer.answers(prompts)
  assert tokens is prompts.metadata["forced_answer"] and mask is prompts.metadata["forced_answer_mask"]
  assert build(0).forced_answer is None and build(0).prompts(np.array([1]), "train").metadata == {}


@pytest.mark.parametrize(
  ("config", "message"),
  [
    ({"answer": "", "forced_answer_tokens": 4}, "task.answer='' cannot be forced: set task.answer to one of tag, "),
    ({"answer": "choice", "forced_answer_tokens": 4}, "task.answer='choice' cannot be forced"),
    ({"answer": "tag", "forced_answer_tokens": -1}, "task.forced_answer_tokens: got -1, want a whole number from 0"),
  ],
)
def test_a_rule_without_a_form_is_refused(config, message):
  with pytest.raises(ValueError, match=message):
    writer(config, Bytes())


def test_a_problem_without_an_answer_is_refused():
  with pytest.raises(ValueError, match=r"the problem 'f\(x\)' has no answer: set it to 0"):
    writer({"answer": "tag", "forced_answer_tokens": 4}, Bytes()).metadata([{"question": "f(x)", "answer": ""}])
