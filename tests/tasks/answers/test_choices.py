"""Letters of options."""

from __future__ import annotations

import pytest

from rl_jax.tasks.answers.choices import choice, letter

CHOSEN = [
  ("The answer is (A).", "A"), ("(B)", "B"), ("B", "B"), ("**C**", "C"), ("C.", "C"), ("C) five", "C"),
  ("Answer: D", "D"),
  ("Answer: D) some text", "D"), ("Answer: (b)", "B"), ("the answer is (c).", "C"), ("**Answer: B**", "B"),
  ("### Answer\n\nB", "B"), ("Final answer: $B$", "B"), ("So option E is correct.", "E"),
  ("The correct option is **B**.", "B"),
  ("The correct choice is B: 5 m", "B"), ("The best answer is choice C", "C"), ("I choose B", "B"),
  ("I'd go with option (D)", "D"), ("the correct answer is A) 5, because B is 3", "A"), ("the answer is 'A'", "A"),
  ('the answer is "A"', "A"), ("Thus the answer is (A), not (B).", "A"), ("Answer: **(C)** 5 N", "C"),
  ("Answer: C because D is wrong", "C"), (r"Therefore, the answer is $\text{(E)}$.", "E"), (r"\boxed{A}", "A"),
  (r"\boxed{\text{A}}", "A"), (r"\boxed{\text{(A)}}", "A"), (r"\boxed{A. 5}", "A"), (r"\boxed{\textbf{(A)}\ 5}", "A"),
  (r"\boxed{\text{(A)} \quad 5}", "A"), (r"\boxed{\text{Option A}}", "A"),
  ("The answer is not A. The answer is B.", "B"),
  ("Option B is incorrect, so the answer is C.", "C"), ("A) 5\nB) 6\nThe answer is B", "B"),
  ("answer: A\nanswer: B", "B"),
  ("**The correct answer is (A) because**...", "A"), ("Option A is the correct answer", "A"), ("((((A", "A"),
]  # fmt: skip
NONE = [
  "A or B", "The answer is A or B.", "The answer is both A and B", "The answer is A & B", "Answer is A/B", "A, B",
  r"\boxed{A, B}", r"\boxed{\text{A and B}}", r"\boxed{C2v}", r"\boxed{AB}", r"\boxed{A A}", r"\boxed{A, 1}",
  r"\boxed{A or 0}",
  r"\boxed{\text{(C)}+1}", r"\boxed{\text{(C)}^2}", r"\boxed{\text{(C)}1}", r"\boxed{\text{(C)}\text{(D)}}",
  r"\boxed{A = 5}",
  r"\boxed{A - 5}", r"\boxed{\gamma B}", r"\boxed{C[235}", "answer is a good one", "The answer is A good choice",
  "I think it's B.", "None of them", "The answer is I think B", "Answer:", "<answer>A</answer>", "", "\n\n",
]  # fmt: skip


@pytest.mark.parametrize(("response", "letter"), CHOSEN)
def test_the_option_that_is_chosen(response, letter):
  assert choice(response) == letter


@pytest.mark.parametrize("response", NONE)
def test_no_option_or_several(response):
  assert choice(response) is None


@pytest.mark.parametrize(
  ("text", "found"), [("A' is a point", None), ("A's", None), ("a", "A"), ("(a)", "A"), ("ab", None)]
)
def test_a_letter_alone(text, found):
  assert letter(text) == found
