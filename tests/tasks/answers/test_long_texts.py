r"""Time that is linear in the text: a policy that repeats itself, or an attack, costs no more than other text.

A text of a million characters is read within seconds. What is quadratic takes hours, so the bound may be generous.
"""

from __future__ import annotations

import time

import pytest

from rl_jax.tasks.answers.choices import choice
from rl_jax.tasks.answers.finding import final_answer
from rl_jax.tasks.scoring import ANSWERS
from rl_jax.tasks.verifiers.code_blocks import code_block
from rl_jax.tasks.verifiers.mathematics import equal, equal_answers

MEGABYTE = 1_000_000
SECONDS = 20.0
UNITS = [
  "\n", "\r\n", " ", r"\boxed{", r"\boxed{1}", r"\fbox{", r"\[", r"\(", "$", "$$", "<answer>", "</answer>", "Answer:",
  "Answer:\n",
  "The answer is A ", "(", "{", "*", "**", "```\n", "~~~\n", "# ", "> ", "1", "1,111,", "1 111 ", "1.", "-", r"\frac{",
  "\\", "A or ",
  "and ", "  because", "<think>",
]  # fmt: skip
FIND = {**ANSWERS, "final": final_answer, "code": code_block}


@pytest.mark.parametrize("unit", UNITS)
def test_a_megabyte_of_one_thing_is_read_in_linear_time(unit):
  text = unit * (MEGABYTE // len(unit))
  started = time.process_time()
  for find in FIND.values():
    find(text)
  assert time.process_time() - started < SECONDS


@pytest.mark.parametrize(
  ("opening", "closing"),
  [
    (r"\boxed{", "}"),
    ("{", "}"),
    (r"\boxed{ ", " }"),
    ("<answer>", "</answer>"),
    (r"\(", r"\)"),
    ("**", "**"),
    ("Answer: (", "A)"),
  ],
)
def test_a_megabyte_of_nested_things_is_read_in_linear_time(opening, closing):
  times = MEGABYTE // (len(opening) + len(closing))
  text = opening * times + "5" + closing * times
  started = time.process_time()
  equal_answers(text, {"answer": "5"}), equal_answers(text, {"answer": "A"}), choice(text)
  assert time.process_time() - started < SECONDS


NASTY = [
  "9^{9^{9^{9}}}", "9^9^9^9", "1000000!!", "(10^6)!", "(((3!)!)!)!", r"\binom{10^9}{5}", "2^{10^{10}}", "10^{-10^{10}}",
  "1.0000001^{10^9}",
  "(1+x)^{1000000}", "e^{e^{e^{e^{e}}}}", "x^{x^{x^{x^{x^{x}}}}}", r"\sin(10^{100})", r"\tan(10^{10^{10}})",
  r"\lfloor 10^{1000}\pi \rfloor",
  "n!^{n!}", "((n!)!)!", r"\binom{n!}{(n-1)!}", r"\sqrt[1000000]{2}", r"\sqrt[10^{-9}]{2}",
  r"\sqrt{" * 39 + "2" + "}" * 39, "(" * 4000,
  "-" * 4000 + "1", "1+" * 3999 + "1", "x+" * 700 + "x", "x" * 8000, "1" * 8000, "1," * 4000, "x^" * 2000 + "2",
  "2^" * 40 + "2", "|" * 4000,
  "5" + "!" * 4000, r"\frac12" * 1000, r"\pm 1" * 1000, r"\pm" * 10 + "1", "+".join(f"x_{{{i}}}" for i in range(350)),
  r"\begin{pmatrix}" * 500,
  r"\text{" * 1500, r"\cup" * 1500, " and " * 1500, "x = " * 1500, "1<" * 2000 + "x", r"\int" * 1000 + "x",
  r"\sum_{k=1}^{n}" * 300 + "k",
  r"\sin" * 1000 + "x", "(x+y+z+1)^{200}", "(x+1)" * 300, r"\frac{d}{dx}" * 300 + "x", "x'" * 2000,
  "a_{b_{c_{d}}}" * 300, "%" * 5000,
  r"0." + "3" * 390 + r"\overline{1}", "1e99999", "½" * 2000, "⁹" * 4000, r"\mathrm{" * 1000, "$" * 8000,
  "5 km " * 1500, "i^{i^{i^{i}}}",
  "(x^{100000}+1)^{100}", "2^{19999}", r"\arcsin(10^{500})", "e^{100000!}",
]  # fmt: skip


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_no_formula_takes_long(text):
  started = time.process_time()
  for wanted in ("5", "x^2+1", r"\lfloor n/2\rfloor + n!"):
    assert not equal(text, wanted, form="any")
    assert not equal(text, wanted, form="simplified")
  assert time.process_time() - started < 1.0
