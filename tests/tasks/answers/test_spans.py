r"""Boxes and formulas, where they nest, do not close, follow one another or are prices."""

from __future__ import annotations

import pytest

from rl_jax.tasks.answers.spans import before_open_box, boxed, formulas


@pytest.mark.parametrize(
  ("text", "answer"),
  [
    (r"so \boxed{42}.", "42"),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    (r"\boxed{ \{1, 2\} }", r"\{1, 2\}"),
    (r"\boxed{\text{a {b} c}}", r"\text{a {b} c}"),
    (r"\fbox{42}. Check: it is below 50.", "42"),
    (r"\framebox{42}", "42"),
    (r"\boxed 5 and so on", "5"),
    (r"\boxed5.", "5"),
    (r"\boxed {5}", "5"),
    (r"\boxed{1}, no: \boxed{2}", "2"),
    (r"\boxed{3}, \boxed{5}", "3, 5"),
    (r"$x=\boxed{3}$ or $x=\boxed{5}$", "3, 5"),
    (r"\boxed{3} and \boxed{5}", "3, 5"),
    (r"\boxed{3}\text{ and }\boxed{5}", "3, 5"),
    (r"\(\boxed{3}\), \(\boxed{4}\) and \(\boxed{5}\)", "3, 4, 5"),
    (r"$\boxed{3}$" + "\n\n" + r"$\boxed{5}$", "3, 5"),
    (r"\boxed{3}. Then \boxed{5}", "5"),
    (r"\boxed{5}. So the answer is \boxed{5}", "5"),
    (r"\boxed{5}, \boxed{5}", "5"),
    (r"\boxed{\boxed{5}}", "5"),
    (r"\boxed{ \boxed{\boxed{5}} }", "5"),
    (r"\boxed{\boxed{11} \boxed{12}}", r"\boxed{11} \boxed{12}"),
    (r"\boxed{1 \boxed{2}}", r"1 \boxed{2}"),
    (r"\boxed{4} but \boxed{5", "4"),
    (r"\boxed{5} and put it into \boxed{}", "5"),
    (r"\boxed{}", None),
    (r"\boxed{5", None),
    (r"\boxed{\frac{1}{2}", None),
    ("no box", None),
    ("", None),
    (r"} \boxed{5} {", "5"),
    (r"\\boxed{5}", "5"),  # escaped twice
    (r"1 \\\boxed{5}", "5"),
  ],
)
def test_the_boxes_of_the_last_statement(text, answer):
  assert boxed(text) == answer


@pytest.mark.parametrize(
  ("text", "before"),
  [
    (r"a \boxed{1} b \boxed{2", r"a \boxed{1} b "),
    (r"\boxed{1}", r"\boxed{1}"),
    ("{ a", "{ a"),
    (r"x \boxed{{1}", "x "),
  ],
)
def test_the_text_before_a_box_that_does_not_close(text, before):
  assert before_open_box(text) == before


@pytest.mark.parametrize(
  ("text", "inside"),
  [
    ("$a$ and $b$", ["a", "b"]),
    ("$$a$$", ["a"]),
    ("$$\na\n$$", ["a"]),
    (r"\(a\) and \[b\]", ["a", "b"]),
    (r"\[ a \\[2pt] b \]", [r"a \\[2pt] b"]),
    ("it costs $5 and $7 in all", []),
    ("it costs $5, or $x$", ["x"]),
    (r"\$5 and $x$", ["x"]),
    ("$ a$", []),
    ("$a", []),
    (r"\(a", []),
    (r"\(a\]", []),
    ("$a\nb$", []),
    ("$$", []),
    ("", []),
  ],
)
def test_what_is_inside_of_formulas(text, inside):
  assert [span.inside(text) for span in formulas(text)] == inside
