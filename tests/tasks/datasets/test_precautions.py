"""Precautions around the scorers of reasoning-gym: literals, bounds on time, and shares of what a scorer reads."""

from __future__ import annotations

import time

import pytest

from rl_jax.tasks.datasets import precautions, procedural, safe_scoring

pytest.importorskip("reasoning_gym.factory", reason="reasoning-gym is not installed: make tasks")


@pytest.mark.parametrize(
  ("text", "value"),
  [
    ("[1, -2.5]", [1, -2.5]),
    ("[['a'], (1, 2)]", [["a"], (1, 2)]),
    ("'a'", "a"),
    ("[True]", [True]),
    ("[1] # eval", [1]),
    ("['(', '(']", ["(", "("]),
  ],
)
def test_literals(text, value):
  assert precautions.literal(text) == value


@pytest.mark.parametrize(
  "text",
  [
    *("1", "None", "{}", "{'a': 1}", "{1}", "[{}]", "[None]", "[1j]", "[b'a']", "...", "[open]", "[open('x')]"),
    *("[1+1]", "x", "['a'*9]", "[1 for _ in 'a']", "f'{1}'", "[*[1]]", "'a'.upper()", "[1][0]", "[(lambda: 1)]"),
    *("", "[", "[1]]", "[" * 33 + "]" * 33, "[" * 9999 + "]" * 9999, "'" + "(" * 33 + "'"),
    *("-" * 60000 + "1", "[" + "9" * 5000 + "]"),
  ],
)
def test_what_is_no_list_of_text_and_numbers(text):
  with pytest.raises((ValueError, SyntaxError, MemoryError, RecursionError)):
    precautions.literal(text)


def scored(name, **parameters):
  """The scorer of a data set with its precautions, and a problem."""
  dataset = procedural.create(name, parameters, seed=3, size=1)
  return safe_scoring.scorer(name, dataset), dataset[0]


SLOW_ANSWERS = {
  "boxnet": ["move(" * 2**13, '{"' * 2**13],
  "codeio": ["[" * 2**14, "[" * 900 + "]" * 900, "[" + "1," * 2**14 + "1]", '{"a":' * 900 + "1" + "}" * 900],
  "countdown": ["9**9**9**9", "9" * 2**16, "9*" * 2**15 + "9", "(" * 2**15],
  "polynomial_multiplication": ["(x+y)**999", "9**9**9", "x**999999999", "-" * 2**16 + "x"],
  "propositional_logic": ["¬" * 2**15 + "P", " ∨ ".join(f"{chr(65 + i % 26)}{i}" for i in range(30)), "P ∨ " * 2**14],
  "quantum_lock": ["C" * 2**16, "C → " * 2**14],
  "rubiks_cube": ["U" + "9" * 12, "U " * 2**15, "9U9 " * 2**14],
  "rush_hour": ["A+999999999999", "A+1 " * 2**14],
  "simple_integration": ["sin(" * 190 + "x" + ")" * 190, "X**X" * 2**14, "9**9**9**9", "-" * 2**14 + "X"],
  "spiral_matrix": ["[" * 2**16, "-" * 2**16 + "1", "[" + "1," * 2**15 + "]"],
}


@pytest.mark.parametrize(("name", "answer"), [(name, text) for name, texts in SLOW_ANSWERS.items() for text in texts])
def test_scorers_end_soon(name, answer):
  score, entry = scored(name)
  begin = time.process_time()
  assert score(answer[: safe_scoring.LONGEST], entry) < 0.1
  assert time.process_time() - begin < 1.0


@pytest.mark.parametrize("name", sorted(precautions.ENDS_SOON))
def test_the_reference_is_no_slow_answer(name):
  _, entry = scored(name)
  reference = safe_scoring.reference(entry)
  assert reference is None or precautions.ENDS_SOON[name](reference, entry)


@pytest.mark.parametrize(
  ("name", "answer", "reference", "share"),
  [
    ("fraction_simplification", "1/2", "1/2", 1.0),
    ("fraction_simplification", "$\\frac{1}{2}$", "1/2", 1.0),
    ("fraction_simplification", "1/2 3/4", "1/2", 4 / 7),
    ("gsm_symbolic", "It is 7, so 7.0", "7", 1.0),
    ("gsm_symbolic", "7 or 8", "7", 1 / 4),
    ("kakurasu", "1 0\n0 1", "1 0\n0 1", 1.0),
    ("knights_knaves", "Zoey is a knight, and Owen is a knave.", "Zoey is a knight, and Owen is a knave.", 1.0),
    ("knights_knaves", "Zoey is a sage, and Owen is a knave", "Zoey is a knight, and Owen is a knave.", 1.0),
    ("letter_jumble", "ab  c", "ab c", 1.0),
    ("letter_jumble", "ab c dd", "ab c", 3 / 5),
    ("polynomial_equations", "-1.5, 2", "-1.5, 2", 1.0),
    ("polynomial_equations", "-1.5, or 2", "-1.5, 2", 5 / 10),
    ("quantum_lock", "A → B", "A → B", 1.0),
    ("rubiks_cube", "U R' F2", "U R' F2", 1.0),
    ("rubiks_cube", "U # R'", "U", 5 / 6),
    ("rush_hour", "F+1 K-2", "", 1.0),
    ("rush_hour", "F+1 or K-2", "", 8 / 10),
    ("sokoban", "LRUD", "LRUD", 1.0),
    ("sokoban", "LR or UD", "LRUD", 6 / 8),
    ("survo", "1 2\n3 4", "1 2\n3 4", 1.0),
    ("time_intervals", "12:34:56.789", "12:34:56.789", 1.0),
    ("time_intervals", "3 days, 12:34", "3 days, 12:34", 1.0),
    ("time_intervals", "3 days or 4 days", "3 days", 7 / 16),
    ("word_sorting", "a, b", "a, b", 1.0),
  ],
)
def test_shares(name, answer, reference, share):
  assert precautions.SHARES[name](answer, {"answer": reference}) == pytest.approx(share)


@pytest.mark.parametrize(
  ("answer", "share"),
  [
    ("P ∧ Q", 1.0),  # rules out 6 of 8 assignments, as the reference does
    ("P ∧ Q ∧ R", 1.0),
    ("P", 4 / 6),
    ("P ∨ Q", 2 / 6),
    ("P ∨ Q ∨ R", 1 / 6),
    ("P ∨ ¬P", 0.0),
  ],
)
def test_a_conclusion_counts_by_what_it_rules_out(answer, share):
  entry = {"metadata": {"variables": ["P", "Q", "R"], "example_answer": "(P ∧ Q)"}}
  assert precautions.SHARES["propositional_logic"](answer, entry) == pytest.approx(share)
