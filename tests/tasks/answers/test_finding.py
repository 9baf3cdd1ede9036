"""Answers found in responses by tag, line and number, and the final one."""

from __future__ import annotations

import pytest

from rl_jax.tasks.answers.finding import final_answer, last_line, last_number, last_tag


@pytest.mark.parametrize(
  ("response", "answer"),
  [
    ("<answer>1</answer>", "1"), ("<answer>1</answer> no, <answer>\n 2 </answer>.", "2"), ("<Answer>1</ANSWER>", "1"),
    ("<answer>1</answer><answer>2", "1"), ("<answer>1<answer>2</answer>", "2"), ("</answer>1<answer>", None),
    ("<answer></answer>", ""), ("<answer>1", None), ("1</answer>", None), ("", None),
  ],
)  # fmt: skip
def test_the_last_tag(response, answer):
  assert last_tag(response) == answer


LINES = [
  "Answer: 42", "answer : 42", "ANSWER: 42", "Answer:42", "Answer：42", "Answer = 42", "**Answer:** 42",
  "**Answer: 42**",
  "**Answer**: 42", "***Answer: 42***", "Answer: **42**", "__Answer__: 42", "*Answer:* 42", "### Answer: 42",
  "- Answer: 42",
  "* Answer: 42", "> Answer: 42", "> **Answer:** 42", "1. Answer: 42", "| Answer: 42 |", "\tAnswer: 42", "Answer: `42`",
  r"Answer: \(42\)", "Answer: $42$", "Answer: $$42$$", r"Answer: \boxed{42}", 'Answer: "42"', "Answer: 42.",
  "Answer: 42 \\",
  "<b>Answer:</b> 42", r"\textbf{Answer:} 42", r"\textbf{Answer: 42}", "✅ Answer: 42", "Answer:\n42", "# Answer\n42",
  "## Answer\n\n42", "**Answer**\n\n42", "**Final Answer:**\n42", "### **Answer:**\n**42**", "Answer:\n\n$$\n42\n$$",
  "Final answer: 42", "**Final Answer**: 42", "My answer: 42", "The correct answer: 42", "So, answer: 42",
  "Answer (final): 42",
  "The answer is 42.", "the answer is: 42", "So the answer is **42**.", "**The answer is 42**",
  "The correct answer is 42",
  "Therefore, the final answer is $42$.", "The answer to the question is 42.", "Answer: 42\r\n",
  "Answer: 1\nAnswer: 42",
  "Final Answer: The final answer is $42$. I hope it is correct.", "Answer: 42\n\nLet me know if you have questions.",
]  # fmt: skip


@pytest.mark.parametrize("response", LINES)
def test_answer_lines_as_chat_models_write_them(response, verdicts):
  assert verdicts(response, "42", answer="line") == (1.0, 1.0)
  assert verdicts(response, "2", answer="line") == verdicts(response, "4", answer="line") == (0.0, 0.0)


@pytest.fixture
def verdicts():
  """Rewards of both verifiers."""
  from rl_jax.tasks.scoring import equal_numbers
  from rl_jax.tasks.verifiers.mathematics import equal_answers

  def rewards(response, gold, *, answer):
    return equal_numbers(response, {"answer": gold}, answer=answer).reward, equal_answers(
      response, {"answer": gold}
    ).reward

  return rewards


@pytest.mark.parametrize(
  ("response", "line"),
  [
    ("The answers: 3", None),
    ("An answer", None),
    ("Answer:", ""),
    ("answer", None),
    ("this answers it: 3", None),
    ("Answer: 1,2", "1,2"),
    ("Answer: x = $3$ or $5$", "x = $3$ or $5$"),
    ("Answer: {1}", "{1}"),
    ("Answer: **1** and **2**", "**1** and **2**"),
    ("", None),
  ],
)
def test_the_last_line(response, line):
  assert last_line(response) == line


NUMBERS = [
  ("it is 7.", "7"), ("3 x 4 = 12, or $1,234.50.", "1234.50"), ("it is .5", ".5"), ("−5", "-5"), ("so x = –5", "-5"),
  ("-$5", "-5"), ("$-5", "-5"), ("−$1,200.50", "-1200.50"), ("(-5)", "-5"), ("=-5", "-5"), ("= - 5", "-5"),
  (": -5", "-5"),
  ("it is +5", "5"), ("5–10", "10"), ("between 5-10", "10"), ("3 - 4", "4"), ("x-4", "4"), ("from 3 to -4", "-4"),
  ("it is 3/4", "3/4"), ("3 1/2", "3 1/2"), (r"3\frac{1}{2}", r"3\frac{1}{2}"), ("½", r"\frac{1}{2}"),
  ("1½", r"1\frac{1}{2}"),
  ("it is 1e5", "1e5"), ("2.5e-3.", "2.5e-3"), ("6.02 x 10^23", "6.02 x 10^23"), ("1{,}200", "1200"),
  (r"1\,200", "1200"),
  ("1 200", "1200"), ("7\u00a0000\u00a0000", "7000000"), ("1 2", "2"), ("1, 2", "2"), ("7%", "7%"), ("**7**", "7"),
  ("7th", "7"),
  ("#7", "7"), ("5kg", "5"), ("5 ft 3 in", "3"), ("it is 50°.", "50"), (r"50^\circ", "50"), ("$5 million", "5"),
  ("€5", "5"),
  (r"\boxed{7}", "7"), ("5*3", "3"), ("x=5", "5"), ("7\n\nwhat?", "7"),
]  # fmt: skip
PIECES = [
  "none", "", "v2", "x2", "2x", "H2O", "x_5", "x^5", "a5b", "2^3", "10^{5}", "10³", r"\sqrt{5}", r"\sqrt5",
  r"5\sqrt{3}",
  r"5\pi", "5π", "5√3", "5e", "at 2:30", "3:2", "12,34,567", "1,2", "(1,2)", "1.2.3", "192.168.0.1", "3..5",
  "2024-05-06",
  "5/6/2020", "12-34-56", "1-800-555", "0x1F", "1_000", "5/0",
]  # fmt: skip


@pytest.mark.parametrize(("response", "number"), NUMBERS)
def test_the_last_number(response, number):
  assert last_number(response) == number


@pytest.mark.parametrize("response", PIECES)
def test_a_piece_of_something_larger_is_no_number(response):
  assert last_number(response) is None


@pytest.mark.parametrize(
  ("response", "answer"),
  [
    (r"Answer: 1. But \boxed{2}", "2"),
    ("Answer: 3 because 4 is odd.", "3"),
    ("The answer is $x = 3$ as $y = 4$.", "$x = 3$"),
    ("The answer is $3$ or $5$.", "$3$ or $5$."),
    ("The answer is 42 apples and nothing else follows", "42"),
    ("Answer: it takes $t = 5$ hours", "t = 5"),
    ("we get $x = 3$ for $x$", "x = 3"),
    ("so $x$ is 3", "3"),
    ("we get $x = 3$.\nSo 3 in all", "3"),
    ("we get $x = 3$ in step 2", "x = 3"),
    (r"in \( \frac{350}{10} = 35 \) rows." + "\nSo, Maria has 35 students.", "35"),
    (r"3 + 9 = 12, so \boxed{1", "12"),
    (r"The answer is \boxed{\frac{1}{2", None),
    ("none", None),
  ],
)
def test_the_final_answer(response, answer):
  assert final_answer(response) == answer
