"""The split by hash: disjoint, a function of the question alone, repeated questions left out."""

from __future__ import annotations

import random

import pytest

from rl_jax.tasks.datasets.problems import Problem, divide, hash_share, separate


def problems(*questions):
  return [Problem(question, "a", {"question": question, "answer": str(i)}) for i, question in enumerate(questions)]


def questions(split):
  return [problem.question for problem in split]


NUMBERS = problems(*(f"What is {i}?" for i in range(2000)))


def test_every_question_is_in_one_split_in_about_the_asked_share():
  divided = divide(NUMBERS, 0.125)
  train, held_out = set(questions(divided.train)), set(questions(divided.held_out))
  assert not train & held_out and train | held_out == set(questions(NUMBERS))
  assert abs(len(held_out) - 250) < 5 * (2000 * 0.125 * 0.875) ** 0.5
  assert divided.repeated == 0


def test_the_split_is_a_function_of_the_question_alone():
  before = set(questions(divide(NUMBERS, 0.125).held_out))
  some = random.Random(0).sample(NUMBERS, 1000)
  divided = divide([problem._replace(level="b", entry={}) for problem in some], 0.125)
  assert questions(divided.held_out) == [question for question in questions(some) if question in before]
  assert questions(divided.train) == [question for question in questions(some) if question not in before]


def test_white_space_and_case_do_not_change_the_split():
  assert hash_share("What  is\n2 ?") == hash_share("what is 2 ?") != hash_share("what is 3 ?")


def test_of_equal_questions_the_first_stays():
  divided = divide([*NUMBERS[:50], *problems("What is 7?", "What is 8?")], 0.25)
  assert divided.repeated == 2
  kept = {problem.question: problem.entry["answer"] for problem in divided.train + divided.held_out}
  assert len(kept) == 50 and kept["What is 7?"] == "7"
  answers = [int(problem.entry["answer"]) for problem in divided.train]
  assert answers == sorted(answers), "problems keep their order"


def test_what_is_held_out_is_taken_out_of_train():
  divided = separate(problems("One?", "two ?", "Three?", "One?"), problems("Two ?", "Four?"))
  assert questions(divided.train) == ["One?", "Three?"] and questions(divided.held_out) == ["Two ?", "Four?"]
  assert divided.repeated == 2


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: divide(NUMBERS[:1], 0.5), "none falls to it at held_out_fraction=0.5"),
    (lambda: separate(NUMBERS[:3], NUMBERS[:4]), "split train has no problem: all of its questions are held-out ones"),
    (lambda: separate(NUMBERS[:3], []), "split held_out has no problem: its source has no row"),
  ],
)
def test_an_empty_split_is_one_clear_line(make, message):
  with pytest.raises(ValueError, match=message):
    make()
