"""Unicode as ASCII and LaTeX, and answers without their dress."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_jax.tasks.answers.plain import MOST_CHARACTERS, ascii_latex, plain


@pytest.mark.parametrize(
  ("text", "latex"),
  [
    ("−5", "-5"), ("–5", "-5"), ("—5", "-5"), ("x²", "x^{2}"), ("10⁻³", "10^{-3}"), ("a₁₂", "a_{12}"),
    ("½", r"\frac{1}{2}"), ("1½", r"1\frac{1}{2}"), ("3·4", r"3 \cdot 4"), ("3×4", r"3 \times 4"), ("∞", r" \infty "),
    ("√9", r" \surd 9"), ("π", r" \pi "), ("30°", r"30^\circ "), ("１２", "12"), ("（1）", "(1)"),
    ("1\u00a0000", "1 000"),
    ("1\u200b2", "12"), ("a\r\nb", "a\nb"), ("≤", r" \le "), ("“yes”", '"yes"'), ("f′", "f'"), ("ﬁ", "fi"),
    ("abc", "abc"),
  ],
)  # fmt: skip
def test_unicode_as_ascii_and_latex(text, latex):
  assert ascii_latex(text) == latex


@pytest.mark.parametrize(
  ("text", "bare"),
  [
    (" 42. ", "42"), ("**42**", "42"), ("**42", "42"), ("42**", "42"), ("*x*", "x"), ("`42`", "42"), ("__42__", "42"),
    ("$42$", "42"), ("$$42$$", "42"), (r"\(42\)", "42"), (r"\[42\]", "42"), (r"**$\(42\)$**.", "42"), ('"yes"', "yes"),
    ("$5", "$5"), (r"\$5", r"\$5"), ("$3$ and $5$", "3  and  5"), (r"\(3\) and \(5\)", "3  and  5"), ("42;", "42"),
    ("2*3*4", "2*3*4"), ("**1** and **2**", "1 and 2"), ("x**2 + y**2", "x**2 + y**2"), ("3...", "3..."),
    (r"\left. x \right.", r"\left. x \right."),
    (r"1 \\[2pt] 2", r"1 \\[2pt] 2"), (r"\(3", r"\(3"), ("", ""), ("$", "$"), ("**", ""),
  ],
)  # fmt: skip
def test_an_answer_without_its_dress(text, bare):
  assert plain(text) == bare


@given(st.text(max_size=60))
def test_nothing_is_left_to_take_off(text):
  once = plain(text)
  assert plain(once) == plain(plain(once))


def test_a_text_that_is_too_long_for_an_answer_stays():
  assert plain("*" * 1_000_000) == "*" * 1_000_000 and len("*" * 1_000_000) > MOST_CHARACTERS
