"""Mathematical answers: the final answer of a response is found, parsed to a typed value and compared by type.

math-verify is the engine for sums, integrals, limits and derivatives. It is used last, on one formula at a time with
small powers and factorials. Its own time limits use signals and are switched off. SymPy may compute without end, so
this runs in a pool with a deadline.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import math_verify

from rl_jax.tasks import scoring
from rl_jax.tasks.answers import choices, finding, reading, spans
from rl_jax.tasks.answers.equality import FORMS, Comparison
from rl_jax.tasks.answers.latex import latex
from rl_jax.tasks.answers.plain import plain
from rl_jax.tasks.answers.trees import Node, Unreadable, rational
from rl_jax.tasks.answers.values import Choice
from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifiers import points
from rl_jax.tasks.verifiers.errors import CannotVerify

# They warn, once in each process, that the time limits are off.
logging.getLogger("math_verify").setLevel(logging.CRITICAL)

final_answer = finding.final_answer


def equal_answers(
  response: str, entry: Mapping[str, Any], *, answer: str = "whole", form: str = "simplified"
) -> Verdict:
  r"""1 where the final answer of the response and `entry["answer"]` are equal as mathematics, else 0.

  Args:
    answer: name of the rule in `scoring.ANSWERS` that finds the answer; "whole" stands for `final_answer`, and for the
      rule "choice" where the gold answer is the letter of an option and the response has no box.
    form: "simplified", an answer that restates the question is wrong: a gold number wants a number (17 \cdot 23 is not
      391), a gold formula wants no operators and functions but its own, and its own factors or terms; "any", all that
      is equal is right.

  Raises: CannotVerify: there is no gold answer or no such form.
  """
  if form not in FORMS:
    raise CannotVerify(f"equal_answers: form is {form!r}, want one of {', '.join(FORMS)}")
  gold_text = str(entry["answer"])
  gold_text = spans.boxed(gold_text) or gold_text
  if not gold_text.strip():
    raise CannotVerify("equal_answers: the gold answer is empty")
  text = scoring.rule(answer)(response)
  if text is None:
    return Verdict(0.0)
  gold = reading.read(gold_text)
  if answer == "whole":
    answer_text = choices.choice(text) if isinstance(gold[0], Choice) else None
    answer_text = answer_text or finding.final_answer(text)
  else:
    answer_text = spans.boxed(text) or text
  return Verdict(float(answer_text is not None and equal(answer_text, gold_text, form=form)))


def equal(answer: str, gold: str, *, form: str = "any") -> bool:
  """Return whether two answers are the same text, number or mathematical object.

  Args:
    form: as in `equal_answers`.
  """
  if not answer.strip():
    return False
  if plain(answer) == plain(gold):
    return True
  return Comparison(_Algebra(), form).equal(reading.read(answer), reading.read(gold))


class _Algebra:
  """Formulas by their values at points, and by math-verify where they have none."""

  def same(self, a: Node, b: Node) -> bool:
    if points.has_values(a) and points.has_values(b):
      return points.same(a, b)
    return _same_by_engine(a, b)

  def near(self, tree: Node, value: Fraction, tolerance: Fraction) -> bool:
    return points.has_values(tree) and points.near(tree, value, tolerance)

  def proportional(self, a: Node, b: Node) -> bool:
    return points.has_values(a) and points.has_values(b) and points.proportional(a, b)


def _same_by_engine(a: Node, b: Node) -> bool:
  """Equality by math-verify. Formulas that it cannot read or evaluate are not equal."""
  parsed = []
  for tree in (a, b):
    try:
      rational(tree)
    except Unreadable:
      return False
    try:
      expressions = math_verify.parse(f"${latex(tree)}$", parsing_timeout=None)
    except Exception:  # SymPy's parsers raise almost any type on formulas that they do not know
      return False
    if not expressions or isinstance(expressions[0], str):
      return False
    parsed.append(expressions[:1])
  try:
    return math_verify.verify(parsed[1], parsed[0], timeout_seconds=None)
  except Exception:  # as above, while it works them out
    return False
