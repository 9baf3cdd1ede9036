"""Arithmetic that is left undone, by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from rl_jax.tasks.answers import evaluation
from rl_jax.tasks.answers.syntax import tree_of
from rl_jax.tasks.answers.tokens import tokenize


def parsed(text):
  return tree_of(tokenize(text))


@pytest.mark.parametrize(
  ("text", "count"),
  [
    ("5", 0), (r"\frac{3}{4}", 0), ("3x", 0), (r"\frac{4}{3}\pi", 0), (r"2\sqrt{3}", 0), (r"3 \cdot 5x", 1),
    ("2+3+x", 1),
    ("2+3", 1), (r"2^{10}\pi", 1), ("x^{2+1}", 1), (r"\sqrt{16+9}", 1), (r"\sqrt{4+8}", 1), ("2(3(5x))", 2),
    (r"3 \cdot 10^{8} x", 1), (r"(1+2)(3+4)", 1), ("2x+3x", 0), (r"\frac{2\pi}{6}", 0), (r"\sqrt{16}\pi", 1),
  ],
)  # fmt: skip
def test_operations_on_numbers_that_are_left(text, count):
  assert evaluation.pending(parsed(text)) == count


@pytest.mark.parametrize(
  ("text", "collected"),
  [
    ("x^2+x+1", True), ("x+x", False), ("2x+3x", False), ("xy+yx", False), (r"x \cdot x", False), ("x^2x^3", False),
    (r"\pi - \frac{3\pi}{4}", False), (r"\sqrt{3}+\sqrt{3}", False), (r"\sqrt{2}+\sqrt{3}", True), ("1+2", False),
    (r"1+\frac{1}{\sqrt{2}}", True), (r"\frac{1}{\sqrt{2}}+\frac{3}{\sqrt{2}}", False), (r"1+\sqrt{2}", True),
    (r"\ln 3 - \ln 2", True), (r"\frac{x}{2}+\frac{x}{3}", False), ("-x-y", True),
  ],
)  # fmt: skip
def test_terms_that_are_collected(text, collected):
  assert evaluation.is_collected(parsed(text)) == collected


@pytest.mark.parametrize(
  ("text", "below"),
  [
    ("x", 0), (r"\frac{x}{2}", 0), (r"\frac{1}{x}", 1), ("x^{-2}", 2), (r"\frac{x^2-x}{x^2-1}", 2),
    (r"\frac{1}{(x+1)(x+y)}", 2),
    (r"\frac{1}{\sqrt{x}}", Fraction(1, 2)), (r"\frac{1}{x}+\frac{1}{y}", 1),
    (r"\frac{1}{x^{\frac{3}{2}}}", Fraction(0)),
  ],
)  # fmt: skip
def test_degrees_of_denominators(text, below):
  assert evaluation.degree_below(parsed(text)) == below


@pytest.mark.parametrize(
  ("text", "complex_number"),
  [
    ("3+4i", True), ("2i", True), (r"\frac{3+4i}{5}", True), (r"-\frac{1}{2}i+\sqrt{3}", True), ("(1+i)^2", False),
    ("i^3", False), (r"\frac{1}{1+i}", False), ("(1+i)(2-i)", False), ("i+i", False), ("e^{i}", False), ("5", False),
  ],
)  # fmt: skip
def test_complex_numbers_that_are_worked_out(text, complex_number):
  assert evaluation.is_complex_number(parsed(text)) == complex_number
