r"""Answers compared by type: public faults with their siblings, restated questions, and usual ways to write answers."""

from __future__ import annotations

import pytest

from rl_jax.tasks.verifiers.mathematics import equal

PMATRIX = r"\begin{pmatrix}%s\end{pmatrix}"

SAME_MATRICES = [
  ("-" + PMATRIX % r"1 \\ 2", PMATRIX % r"-1 \\ -2"), (PMATRIX % r"1 \cr 2", PMATRIX % r"1\\2"),
  (r"\mathbf{v} = " + PMATRIX % r"1 \\ 2", PMATRIX % r"1\\2"),
  (PMATRIX % r" 1 \\ 2 ", PMATRIX % r"1\\2"), (PMATRIX % r"1 & 2 \\ 3 & 4", r"\begin{bmatrix} 1&2\\3&4 \end{bmatrix}"),
  (PMATRIX % r" 1 \\ 2 \\ ", PMATRIX % r"1 \\ 2"), (PMATRIX % r"0.5 \\ 1", PMATRIX % r"\frac{1}{2} \\ 1"),
  (PMATRIX % r"-1 \\[4pt] 2", PMATRIX % r"-1 \\ 2"), (r"\frac{1}{2}" + PMATRIX % r"2 \\ 4", PMATRIX % r"1 \\ 2"),
  (r"\left[\begin{array}{cc} 1 & 2 \\ 3 & 4 \end{array}\right]", PMATRIX % r"1&2\\3&4"),
  (r"\begin{vmatrix} 1 \\ 5 \end{vmatrix}", r"\begin{vmatrix}1\\5\end{vmatrix}"), (r"1 \\ 2", r"1\\2"),
  (r"x=1 \\ y=2", r"x=1\\y=2"), (r"\begin{cases} x = 1 \\ y = 2 \end{cases}", "x=1, y=2"),
  (r"\begin{align*} x &= 1 \\ y &= 2 \end{align*}", "x=1,y=2"),
  (r"\left\{ \begin{array}{l} x = 1 \\ y = 2 \end{array} \right.", "x=1, y=2"),
  (PMATRIX % r"x+1 \\ 2", PMATRIX % r"1+x \\ 2"),
]  # fmt: skip
OTHER_MATRICES = [
  (PMATRIX % r" 1 \\ 2 ", PMATRIX % r" 1 \\ 3 "), (PMATRIX % r"1 & 2 \\ 3 & 4", PMATRIX % r"1 & 3 \\ 2 & 4"),
  (PMATRIX % r"1 & 2", PMATRIX % r"1 \\ 2"), (PMATRIX % r"1 \\ 2", PMATRIX % r"1 \\ 2 \\ 3"),
  (PMATRIX % r"1 \\ 2", "1"),
  (r"\begin{vmatrix} 1 \\ 5 \end{vmatrix}", r"\begin{vmatrix} 1 \\ 6 \end{vmatrix}"), (r"1 \\ 2", r"1 \\ 3"),
  (r"\begin{array}{c} 1 \\ 5 \end{array}", r"\begin{array}{c} 1 \\ 6 \end{array}"), (r"x=1 \\ y=2", r"x=1 \\ y=3"),
  (r"\begin{cases} 1 \\ 5 \end{cases}", r"\begin{cases} 1 \\ 6 \end{cases}"), (r"x=1 \\ y=2", r"x=2 \\ y=1"),
  (PMATRIX % r"1&2\\3&4", r"\begin{vmatrix}1&2\\3&4\end{vmatrix}"), (r"\leftarrow 1", "1"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), SAME_MATRICES)
def test_rows_of_matrices_and_lines_are_kept_whatever_blanks_are_around(given, wanted):
  assert equal(given, wanted, form="simplified")


@pytest.mark.parametrize(("given", "wanted"), OTHER_MATRICES)
def test_matrices_and_lines_that_differ_behind_their_first_row(given, wanted):
  assert not equal(given, wanted) and not equal(wanted, given)


@pytest.mark.parametrize(
  ("given", "wanted"),
  [
    ("0.0000002", "0.0000001"), ("0.0000003", "0.0000004"), ("10^{-20}", "10^{-30}"), ("2^{-80}", "2^{-90}"),
    ("1e-300", "0"),
    (r"\frac{1}{3^{70}}", r"\frac{1}{3^{71}}"), (r"\frac{1}{50!}", r"\frac{1}{51!}"),
    (r"1.6 \times 10^{-19}", "9.1e-31"),
    ("6.62607015e-34", "6.62607016e-34"), (r"\pi \cdot 10^{-20}", r"2\pi \cdot 10^{-20}"), ("12.0000001", "12"),
    ("1/4165", "1/4166"),
    ("0.333", r"\frac{1}{3}"), ("3.14", r"\pi"), ("3.1415926", r"\pi"), (r"\frac{22}{7}", r"\pi"),
    ("1.41", r"\sqrt{2}"),
    ("99999999999999999999", "100000000000000000000"),
  ],
)  # fmt: skip
def test_small_differences_are_relative_to_the_numbers(given, wanted):
  assert not equal(given, wanted) and not equal(wanted, given)


@pytest.mark.parametrize(
  ("given", "wanted", "same"),
  [
    ("3 1/2", "7/2", True), (r"2\frac14", "9/4", True), (r"2\frac{1}{3}", r"\frac{7}{3}", True),
    (r"-1\frac{1}{2}", "-1.5", True),
    (r"3\frac{1}{4} \text{ cups}", "3.25", True), ("2½", "2.5", True), (r"2\frac{1}{3}", "7", False),
    ("31/2", "3 1/2", False),
    (r"2\frac{1}{4}", "5.25", False), (r"2\frac{1}{4}", r"\frac{21}{4}", False), ("15.5", "3 1/2", False),
    ("12 34", "1234", False),
    ("1 2", "12", False), (r"\frac{1}{2}3", r"\frac{1}{23}", False), (r"\frac{1}{2}3", r"\frac{3}{2}", False),
    (r"2\frac{3}{4}", r"\frac{23}{4}", False), ("5.5", r"1\frac{1}{2}", False),
    (r"\frac{11}{2}", r"1\frac{1}{2}", False),
    ("1 2 3", "123", False), (r"5\;6", "56", False), (r"2\frac{1}{3}", r"\frac{2}{3}", False),
    ("1 / 2 3", "1/23", False),
  ],
)  # fmt: skip
def test_digits_are_not_joined(given, wanted, same):
  assert equal(given, wanted, form="simplified") == same


@pytest.mark.parametrize(
  ("given", "wanted", "same"),
  [
    ("100,200", "100, 200", True), ("100, 200", "100,200", True), ("125,216,343", "125, 216, 343", True),
    ("1,234", "1234", True),
    ("1,2", "1, 2", True), ("3, 1, 2", "1,2,3", True), ("1,234,567", "1234567", True), ("100,200", "100200", True),
    ("1,2", "12", False),
    ("0,1", "1", False), ("2,6", "26", False), ("12", "1,2", False), ("1,2,3", "123", False),
    ("(1,234)", "1234", False),
    ("12,34", "1234", False), ("0,5", "0.5", False), ("1,2", "1.2", False), ("1, 234", "1234", False),
    ("3,5", "3,6", False),
    ("(100,200)", "100200", False), ("1,1,2", "1,2", False), ("1,2", "1,2,3", False),
  ],
)  # fmt: skip
def test_commas_are_of_thousands_or_of_a_list(given, wanted, same):
  assert equal(given, wanted, form="simplified") == same


@pytest.mark.parametrize(
  ("given", "wanted", "same"),
  [
    ("−5", "-5", True), ("–5", "-5", True), ("−½", "-1/2", True), ("-$5", "-5", True), ("−$5", "-5", True),
    (".5", "0.5", True),
    ("-.5", "-1/2", True), ("x = −5", "-5", True), ("- 5", "-5", True), ("+5", "5", True), ("−5", "5", False),
    ("-$5", "5", False),
    (".5", "5", False), ("5", "-5", False), ("0.5", "5", False), ("-x", "x", False), ("5-", "5", False),
    ("±5", "5", False),
    ("±5", "5, -5", True), (r"\mp 5", "-5, 5", True), ("x-1", "x+1", False), ("3-4i", "3+4i", False),
  ],
)  # fmt: skip
def test_signs_and_leading_points_count(given, wanted, same):
  assert equal(given, wanted, form="simplified") == same


@pytest.mark.parametrize(
  ("given", "wanted", "same"),
  [
    ("1e-5", "0.00001", True), ("1e-05", "0.00001", True), ("1E-3", "0.001", True), ("3e8", "300000000", True),
    ("1.5e-3", "0.0015", True),
    (r"6.02\times 10^{23}", "6.02e23", True), ("6.02e+23", r"6.02 \cdot 10^{23}", True), ("3×10⁸", "3e8", True),
    ("3x10^8", "3e8", True),
    (r"1.24 \times 10^{-8} \text{ cm}", "1.24e-8", True), ("10^{-6}", "0.000001", True), ("10^6", "1,000,000", True),
    ("3e8", "3e9", False),
    ("1e5", "5", False), ("1e-5", "1e5", False), ("6.02e23", "6.03e23", False), ("2e", "2", False),
    (r"1.42 \times 10^{-8}", "1.24e-8", False),
  ],
)  # fmt: skip
def test_scientific_notation(given, wanted, same):
  assert equal(given, wanted, form="simplified") == same


WANT_FALSE = [
  (r"2+\frac{1}{\mathrm{e}}", r"2-\frac{1}{\mathrm{e}}"), ("1", r"1+\mathrm{i}"), ("3", r"3\mathrm{e}"),
  ("5", r"5\sqrt(3)"),
  ("10", "10³"), ("1", "1½"), ("5", r"\not= 5"), (r"\leq 5", "5"), ("5", r"5 \text{ hours } 30 \text{ minutes}"),
  ("on", "no"),
  ("neon", "none"), ("CBA", "ABC"), (r"\{3,2,1\}", "(1,2,3)"), ("1010_3", "1010_2"),
  (r"1, 3, \ldots, 2n-1", r"2, 4, \ldots, 2n"),
  ("12!!!", "12"), ("12'", "12"), ("12i", "12"), ("12a", "12"), ("12_5", "12"), ("12...", "12"), ("*12", "12"),
  ("12/", "12"),
  ("12:30", "12"), ("12/1/2020", "12"), ("5|6", "5"), (r"5 \mid 10", "5"), (r"5 \to 6", "5"), (r"5 \land 6", "5"),
  ("X", "x"),
  ("x_2", "x_1"), (r"\sin^{-1} x", r"\frac{1}{\sin x}"), (r"\sqrt{x^2}", "x"), (r"\log_2 3", r"\log_3 2"),
  (r"\infty", r"-\infty"),
  ("0", r"\emptyset"), ("", "0"), (r"\text{}", "0"), ("?", "0"), ("Tuesday", "Thursday"), ("AB", "BA"),
  ("12 or 13", "12"),
  (r"\{12, 13\}", "12"), ("[11,13]", "12"), (r"\text{not } 12", "12"), (r"\text{12 or 13}", "12"),
  (r"I(0)e^{t}", r"I(0)e^{-t}"),
  (r"\ln(0)", "5"), (r"\tan(\pi/2)", "5"), (r"\frac{1}{0}", "5"), ("n!+1", "n!"),
  (r"\binom{2n}{n}+1", r"\binom{2n}{n}"),
  (r"\lfloor\sqrt{n+1}\rfloor", r"\lfloor\sqrt{n-1}\rfloor"), (r"\lfloor n/2 \rfloor", r"\lceil n/2 \rceil"),
  ("x(0)", "x(1)"),
]  # fmt: skip
WANT_TRUE = [
  ("x²", "x^2"), ("√9", "3"), ("½", "0.5"), ("∞", r"\infty"), ("3·4", "12"), ("E_1", "E_{1}"), (r"\mathrm{e}^2", "e^2"),
  ("**3**", "3"),
  (r"1+\mathrm{i}", "1+i"), (r"\frac{t}{m}", r"\frac{1}{m}t"), (r"\emptyset", r"\varnothing"),
  (r"0.\overline{3}", "1/3"), ("€7250", "7250"),
  ("pi/3", r"\frac{\pi}{3}"), ("x**2+1", "x^2+1"), ("7,250 dollars", "7250"), (r"12\%", "12"), (r"12.5\%", "12.5"),
  ("1010_2", "1010_{2}"),
  (r"\cos²θ", r"\cos^2\theta"), ("2πr", r"2\pi r"), ("x ≤ 3", r"x \leq 3"), ("a·b", "ab"),
  (r"\operatorname{sin} x", r"\sin x"),
  (r"\binom{n}{k}", r"\frac{n!}{k!(n-k)!}"), ("TRUE", "true"), ("{5}", "5"), ("[0,1]∪[2,3]", r"[2,3] \cup [0,1]"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), WANT_FALSE)
def test_what_is_read_in_part_is_not_equal(given, wanted):
  assert not equal(given, wanted)


@pytest.mark.parametrize(("given", "wanted"), WANT_TRUE)
def test_other_writing_of_the_same(given, wanted):
  assert equal(given, wanted) and equal(wanted, given)


RESTATED = [
  (r"17 \cdot 23", "391"), ("17*23", "391"), (r"17\times23", "391"), ("17(23)", "391"), ("(17)(23)", "391"),
  ("400+33", "433"),
  ("4 + 3 * 20 - 7 + 376", "433"), (r"\sum_{k=1}^{100} k", "5050"), (r"\int_0^1 x^2 dx", r"\frac{1}{3}"),
  (r"\binom{10}{3}", "120"),
  (r"{10 \choose 3}", "120"), ("5!", "120"), (r"\lim_{x\to 0} \frac{\sin x}{x}", "1"), (r"3^{100} \mod 7", "4"),
  (r"3^{100} \pmod 7", "4"),
  (r"\det" + PMATRIX % r"1&2\\3&4", "-2"), (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", "-2"), (r"\gcd(12,18)", "6"),
  ("|-5|", "5"),
  (r"\sqrt{16}", "4"), (r"2^{10}", "1024"), (r"\lfloor 3.7 \rfloor", "3"), (r"\log_2 8", "3"),
  (r"\sin 30^\circ", r"\frac{1}{2}"),
  ("--5", "5"), (r"\frac{1}{2}+\frac{1}{3}", r"\frac{5}{6}"), (r"\frac{10!}{9!}", "10"), (r"\frac{1+2}{3}", "1"),
  ("12+0", "12"),
  (r"\frac{\frac12}{\frac13}", r"\frac32"), (r"\prod_{k=1}^{5} k", "120"), (r"\frac{d}{dx}x^2", "2x"),
  (r"\int 2x dx", "x^2"),
  ("x^2-1", "(x-1)(x+1)"), ("(x-1)(x+1)", "x^2-1"), ("2x+3x", "5x"), ("12+x-x", "12"), ("(1+i)^2", "2i"),
  (r"\pi(1+3)", r"4\pi"),
]  # fmt: skip
EQUAL_IN_VALUE = [
  (g, w) for g, w in RESTATED if "mod" not in g and r"\det" not in g and "vmatrix" not in g and "gcd" not in g
]


@pytest.mark.parametrize(("given", "wanted"), RESTATED)
def test_the_question_restated_is_no_answer(given, wanted):
  assert not equal(given, wanted, form="simplified")


@pytest.mark.parametrize(("given", "wanted"), EQUAL_IN_VALUE)
def test_the_question_restated_is_equal_in_any_form(given, wanted):
  assert equal(given, wanted, form="any")


@pytest.mark.parametrize(
  ("given", "wanted"),
  [
    (r"\frac{34}{2}", "17"), (r"\frac{6}{4}", r"\frac{3}{2}"), (r"3 \cdot 10^{2}", "300"), ("3.0", "3"),
    (r"\frac{1}{\sqrt{3}}", r"\frac{\sqrt{3}}{3}"),
    (r"2^{10}", r"2^{10}"), ("1024", "2^{10}"), (r"\binom{n}{2}", r"\frac{n(n-1)}{2}"),
    (r"\frac{x}{2}+\frac{1}{2}", r"\frac{x+1}{2}"),
    (r"\sqrt{12}", r"2\sqrt{3}"), (r"\ln\sqrt{2}", r"\frac{1}{2}\ln 2"), (r"1-\frac{\pi}{4}", r"\frac{4-\pi}{4}"),
    ("6(x-2)(x+1)", "6(x+1)(x-2)"),
    (r"\sum_{n=0}^{\infty} x^n", r"\sum_{n=0}^{\infty} x^n"), (r"\int_0^1 f(x) dx", r"\int_0^1 f(x) dx"),
  ],
)  # fmt: skip
def test_other_forms_of_an_answer_are_answers(given, wanted):
  assert equal(given, wanted, form="simplified")


@pytest.mark.parametrize(
  ("given", "wanted"),
  [
    (r"\boxed{11} \boxed{12}", "12"), ("11$ $12", "12"), ("12, 12", "12"), ("12;13", "12"), ("12 and 13", "12"),
    (r"\pm 12", "12"),
    ("11, 12", "12"), ("3, 5", "5"), (r"\{1,2,3,4,5,6,7,8,9,10,11,12\}", "12"),
  ],
)  # fmt: skip
def test_one_of_several_answers_is_not_enough(given, wanted):
  assert not equal(given, wanted)


COLLECTIONS = [
  ("1, 2, 3", "3, 2, 1"), ("1 and 2", "1,2"), ("1, 2, and 3", "1,2,3"), ("x = 1, x = 2", "1,2"),
  (r"x=1 \text{ or } x=2", "1,2"), ("x=0,1", "0,1"),
  (r"\{1,2\}", "1,2"), ("1,2", r"\{1,2\}"), (r"\{1,1,2\}", r"\{2,1\}"), ("3,-3", r"\pm 3"),
  (r"1 \pm \sqrt{2}", r"1+\sqrt2, 1-\sqrt2"), (r"\{5\}", "5"),
  ("(1, 2), (3, 4)", "(3,4),(1,2)"), ("x = 1, y = 2", "(1,2)"), ("y=2, x=1", "(1,2)"), ("(1,2)", "x=1,y=2"),
  ("(x, y) = (1, 2)", "(1,2)"), ("(3,-1)", "3,-1"),
  ("Tuesday and Monday", "Monday, Tuesday"), (r"\{-1\} \cup [0,1]", r"[0,1]\cup\{-1\}"),
  ("[0.5,1]", r"[\frac{1}{2},1]"), ("[3;4]", "[3,4]"),
]  # fmt: skip
NO_COLLECTIONS = [
  ("(2,1)", "(1,2)"), ("[1,2]", "(1,2)"), ("(1,2]", "[1,2)"), ("1,2", "1,3"), ("1,2,3", "1,2"), ("(1,2,3)", "(1,2)"),
  (r"\{1,2\}", "(1,2)"), ("(1,2)", r"\{1,2\}"),
  ("(1,2)", r"(1,2)\cup(3,4)"), (r"(1,2)\cap(3,4)", r"(1,2)\cup(3,4)"), ("(2,1)", "x=1,y=2"), ("x=2, y=1", "(1,2)"),
  ("[1,2]", "x=1,y=2"), ("(1,2)", "2,1"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), COLLECTIONS)
def test_lists_and_sets_without_order_tuples_in_order(given, wanted):
  assert equal(given, wanted, form="simplified")


@pytest.mark.parametrize(("given", "wanted"), NO_COLLECTIONS)
def test_collections_that_differ(given, wanted):
  assert not equal(given, wanted)
