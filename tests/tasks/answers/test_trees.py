"""Exact values of trees, and what is too large to have one."""

from __future__ import annotations

from fractions import Fraction

import pytest

from rl_jax.tasks.answers.syntax import tree_of
from rl_jax.tasks.answers.tokens import tokenize
from rl_jax.tasks.answers.trees import (
  Node,
  Unreadable,
  is_constant,
  is_literal,
  number,
  rational,
  replaced,
  symbols,
  walk,
)


def parsed(text):
  return tree_of(tokenize(text))


@pytest.mark.parametrize(
  ("text", "value"),
  [
    (r"\frac{1}{2} + \frac{1}{3}", Fraction(5, 6)), ("2^{10}", 1024), (r"(\frac{4}{9})^{1/2}", Fraction(2, 3)),
    ("8^{2/3}", 4), (r"\sqrt{1/4}", Fraction(1, 2)), ("(-1)^{1000001}", -1), ("(-1)^{10^{9}}", 1), ("0^2", 0),
    ("0!", 1),
    (r"\binom{4}{7}", 0), (r"\sqrt[3]{2}", None), (r"\sqrt{-4}", None), ("x", None), (r"2\pi", None), ("(1/2)!", None),
    (r"\sqrt[65]{1}", None),
  ],
)  # fmt: skip
def test_exact_values(text, value):
  assert rational(parsed(text)) == value


@pytest.mark.parametrize(
  "text",
  [
    "1/0", "0^{-1}", "0^0", "9^{9^{9^{9}}}", "2^{10^{10}}", "1000000!", "(((3!)!)!)!", r"\binom{10^9}{2}",
    "x + 9^{9^9}",
    r"\sin(9^{9^9})", "3000!!", "10^{-10^{10}}", "(2^{19000}+1)(3^{11000}+2)",
  ],
)  # fmt: skip
def test_what_is_too_large_or_undefined_is_refused_wherever_it_is(text):
  with pytest.raises(Unreadable):
    rational(parsed(text))


@pytest.mark.parametrize(
  ("text", "literal"),
  [
    ("5", True), ("-5", True), ("2.5", True), ("3/4", True), (r"-\frac{34}{2}", True), (r"1\frac12", True),
    ("10^{6}", True),
    (r"3 \cdot 10^{8}", True), ("(5)", True), ("--5", False), ("-(-5)", False), ("2+3", False), (r"17 \cdot 23", False),
    ("2^{10}", False), ("5!", False), (r"\sqrt{4}", False), ("|5|", False), ("1/2/3", False), ("1.5/2", False),
    ("1/0", False),
    (r"3 \cdot 10^{8} \cdot 2", False), ("e", False), ("x", False),
  ],
)  # fmt: skip
def test_literals_are_numbers_as_they_are_written(text, literal):
  assert is_literal(parsed(text)) == literal


def test_symbols_and_parts():
  tree = parsed(r"a_1 x^2 + \pi")
  assert symbols(tree) == {"a_1", "x"} and not is_constant(tree) and is_constant(parsed(r"e^{i\pi}"))
  assert sum(node.op == "symbol" for node in walk(tree)) == 2


def test_nodes_are_replaced_from_within():
  degrees = replaced(parsed(r"\sin 30^\circ"), "degree", lambda node: node.args[0])
  assert degrees == Node("call", (number(30),), "sin")
