"""The form of an answer: whether a formula is worked out as far as the gold answer is, or restates the question.

A formula may use the functions and operators that the gold answer uses, roots and powers besides, and leave no more
arithmetic undone. Where the gold answer is a product of sums, the given polynomial must be one too, with no fewer
factors; where it is expanded, with no more terms. Its denominators are of no higher degree than the gold answer's.
"""

from __future__ import annotations

from fractions import Fraction

from rl_jax.tasks.answers import evaluation
from rl_jax.tasks.answers.evaluation import factors, terms
from rl_jax.tasks.answers.trees import Node, is_constant, rational, symbols, walk

_FAMILIES = (
  frozenset({"sin", "cos", "tan", "cot", "sec", "csc"}),
  frozenset({"arcsin", "arccos", "arctan", "arccot", "arcsec", "arccsc"}),
  frozenset({"sinh", "cosh", "tanh", "coth", "sech", "csch"}),
  frozenset({"ln", "log"}),
)
_OPERATIONS = ("floor", "ceiling", "factorial", "double factorial", "binomial", "derivative")
_COUNTS = ("factorial", "double factorial", "binomial")


def fits(answer: Node, gold: Node) -> bool:
  """Return whether `answer` is in the form of `gold`."""
  if not _kinds(answer) <= _kinds(gold) or evaluation.pending(answer) > evaluation.pending(gold):
    return False
  if is_constant(gold):
    return _fits_as_constant(answer, gold)
  return evaluation.degree_below(answer) <= evaluation.degree_below(gold) and _fits_as_polynomial(answer, gold)


def _kinds(tree: Node) -> frozenset[str]:
  r"""Operations that tell a question from its answer; functions that turn into one another count as one.

  Factorials and binomials of symbols, as \binom{n}{2}, are answers.
  """
  kinds = set()
  for node in walk(tree):
    if node.op == "call":
      kinds.add(next((min(family) for family in _FAMILIES if node.value in family), node.value))
    elif node.op == "operator":
      kinds.add(node.value.split("_")[0].split("^")[0])
    elif node.op in _OPERATIONS and not (node.op in _COUNTS and symbols(node)):
      kinds.add(node.op)
  return frozenset(kinds)


def _fits_as_constant(answer: Node, gold: Node) -> bool:
  if rational(gold) is not None:
    return True
  if evaluation.is_collected(gold) and not evaluation.is_collected(answer):
    return False
  return evaluation.is_complex_number(answer) or not evaluation.is_complex_number(gold)


def _fits_as_polynomial(answer: Node, gold: Node) -> bool:
  if not _is_polynomial(gold) or any(node.op in _COUNTS for node in walk(answer)):
    return True
  if not _is_polynomial(answer):
    return False
  count = _factors(gold)
  if count is not None:
    answer_count = _factors(answer)
    return answer_count is not None and answer_count >= count
  if _is_expanded(gold) and not any(node.op == "quotient" and node.args[0].op == "sum" for node in walk(gold)):
    return _is_expanded(answer) and (evaluation.is_collected(answer) or not evaluation.is_collected(gold))
  return True


def _is_polynomial(tree: Node) -> bool:
  if tree.op == "power" and not is_constant(tree):
    exponent = tree.args[1]
    return _is_polynomial(tree.args[0]) and exponent.op == "number" and exponent.value.denominator == 1
  if tree.op == "quotient":
    return is_constant(tree.args[1]) and _is_polynomial(tree.args[0])
  if tree.op in ("sum", "negative", "product"):
    return all(map(_is_polynomial, tree.args))
  return tree.op == "symbol" or is_constant(tree)


def _factors(tree: Node) -> Fraction | None:
  """The number of factors with symbols in a product in which one is a sum; None where the tree is no such product."""
  if tree.op in ("negative", "quotient"):
    return _factors(tree.args[0])
  with_symbols = [(factor, times) for factor, times in factors(tree) if symbols(factor)]
  total = sum((times for _, times in with_symbols), Fraction(0))
  return total if total > 1 and any(factor.op == "sum" for factor, _ in with_symbols) else None


def _is_expanded(tree: Node) -> bool:
  """Return whether each term is a product of numbers and powers of symbols."""
  return all(factor.op != "sum" for term in terms(tree) for factor, _ in factors(term) if symbols(factor))
