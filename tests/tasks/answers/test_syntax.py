"""Formulas as trees: what binds to what, shown as the LaTeX that leaves nothing to guess."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_jax.tasks.answers.latex import latex
from rl_jax.tasks.answers.syntax import MOST_DEPTH, tree_of, tree_with_signs
from rl_jax.tasks.answers.tokens import tokenize
from rl_jax.tasks.answers.trees import Node, Unreadable, number, rational


def parsed(text):
  return tree_of(tokenize(text))


@pytest.mark.parametrize(
  ("text", "value"),
  [
    ("1+2*3", 7), ("2-3-4", -5), ("-2^2", -4), ("2^3^2", 512), ("2^{3^2}", 512), ("2**3", 8), ("3 - -2", 5),
    ("12/2/3", 2),
    ("12/2 \\cdot 3", 18), ("2(3+4)", 14), ("(1+2)(3+4)", 21), (r"\frac12", Fraction(1, 2)),
    (r"\frac1{23}", Fraction(1, 23)),
    (r"\frac{1}{2}{3}", Fraction(3, 2)), (r"1\frac12", Fraction(3, 2)), (r"\sqrt{16}", 4), (r"\sqrt[3]{27}", 3),
    (r"\sqrt 9", 3), ("sqrt(16)", 4), ("5!", 120), ("5!!", 15), ("3!^2", 36), ("|-3|", 3), ("|2-5|", 3), ("|-2||3|", 6),
    (r"\lfloor 7/2 \rfloor", 3), (r"\lceil 7/2 \rceil", 4), (r"\binom{5}{2}", 10), (r"{5 \choose 2}", 10),
    (r"{1 \over 2}", Fraction(1, 2)), (r"5 \choose 2", 10),
    (r"2^{-1}", Fraction(1, 2)), ("4^{1/2}", 2), ("[1+1]^2", 4), (r"\left(1+1\right)^2", 4), ("+5", 5),
  ],
)  # fmt: skip
def test_the_value_of_numbers(text, value):
  assert rational(parsed(text)) == value


@pytest.mark.parametrize(
  ("text", "tree"),
  [
    ("2x+1", "({2} \\cdot {x}+1)"),
    ("1/2x", r"{\frac{1}{2}} \cdot {x}"),
    ("a/bc", r"{\frac{a}{b}} \cdot {c}"),
    ("a/(bc)", r"\frac{a}{{b} \cdot {c}}"),
    ("-x^2", "(-{x}^{2})"),
    ("x^-1", "{x}^{(-1)}"),
    (r"\sin 2x", r"\sin({2} \cdot {x})"),
    (r"\sin x \cos y", r"{\sin(x)} \cdot {\cos(y)}"),
    (r"\sin^2 x", r"{\sin(x)}^{2}"),
    (r"\sin^{-1} x", r"\arcsin(x)"),
    (r"\sin(x)y", r"{\sin(x)} \cdot {y}"),
    (r"\log_2 8x", r"\log_{2}({8} \cdot {x})"),
    (r"\lg x", r"\log_{10}(x)"),
    (r"\exp(x)", "{e}^{x}"),
    (r"\sqrt[n]{x}", r"\sqrt[n]{x}"),
    ("x_1^2", "{x_{1}}^{2}"),
    ("x^2_1", "{x_{1}}^{2}"),
    ("f'", "f'"),
    ("x(0)+1", "(x(0)+1)"),
    ("x(y)", "{x} \\cdot {y}"),
    (r"2\pi r", r"{2} \cdot {\pi } \cdot {r}"),
    (r"30^\circ", r"30 \cdot \frac{\pi}{180}"),
    (r"\frac{dy}{dx}", r"\frac{dy}{dx}"),
    ("n!", "(n)!"),
    ("2n!", r"{2} \cdot {(n)!}"),
  ],
)
def test_what_binds_to_what(text, tree):
  assert latex(parsed(text)) == tree


@pytest.mark.parametrize(
  "text",
  [
    "", "1 2", r"\frac{1}{2}3", "x 2", "(1", "1)", "(1]", "{1", "1+", "*1", "1**", "/2", "2/", "---1", "x^", "x_",
    "x_{}",
    "|x", "||", r"\frac", r"\frac{1}", r"\sqrt", r"\sqrt{}", "()", r"\foo x", r"x \leftarrow y", "1 < 2", "x = 1",
    "a, b",
    "x ? y", "the", r"\text{km}", r"3\frac{7}{2}", r"\sqrt12", r"\frac(1)(2)", r"\sin", r"\sin^2(x)^2", r"\log_", "5_2",
    r"\lfloor x", "!", "^2", "&", r"\begin{matrix} 1 \end{matrix}", r"\pm 1",
  ],
)  # fmt: skip
def test_what_is_no_formula(text):
  with pytest.raises(Unreadable):
    parsed(text)


def test_a_sign_of_plus_or_minus_makes_two_formulas():
  tree = tree_with_signs(tokenize(r"1 \pm \sqrt{2}"))
  assert tree == Node("sum", (number(1), Node("either", (Node("root", (number(2), number(2))),), "pm")))


@pytest.mark.parametrize(("opening", "closing"), [("(", ")"), (r"\sqrt{", "}"), ("{", "}"), ("x^{", "}"), ("|(", ")|")])
def test_nesting_is_limited(opening, closing):
  few, many = MOST_DEPTH // 4, MOST_DEPTH + 1
  assert parsed(opening * few + "x" + closing * few)
  with pytest.raises(Unreadable, match="nested more than"):
    parsed(opening * many + "x" + closing * many)


_LEAVES = st.sampled_from(["x", "y", "2", "3", "10", r"\pi", "e", "n_1"])
_FORMULAS = st.recursive(
  _LEAVES,
  lambda inner: st.one_of(
    st.builds("({}+{})".format, inner, inner),
    st.builds("(-{})".format, inner),
    st.builds("({})({})".format, inner, inner),
    st.builds(r"\frac{{{}}}{{{}}}".format, inner, inner),
    st.builds("{{({})}}^{{{}}}".format, inner, inner),
    st.builds(r"\sqrt{{{}}}".format, inner),
    st.builds(r"\sin({})".format, inner),
    st.builds("|({})|".format, inner),
    st.builds(r"\binom{{{}}}{{{}}}".format, inner, inner),
  ),
  max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(_FORMULAS)
def test_the_latex_of_a_tree_is_read_as_the_tree(text):
  tree = parsed(text)
  again = parsed(latex(tree))
  assert latex(again) == latex(tree)
