"""The form of an answer: whether a formula is worked out as far as the gold answer is, or restates the question.

A formula may use the functions and operators that the gold answer uses, roots and powers besides, and leave no more
arithmetic undone. Where the gold answer is a product of sums, so has to be the given polynomial, with no fewer factors;
where it is expanded, with no more terms. Its denominators are of no higher degree than those of the gold answer.
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


def fits(given: Node, wanted: Node) -> bool:
  """Whether `given` is in the form of `wanted`."""
  if not _kinds(given) <= _kinds(wanted) or evaluation.pending(given) > evaluation.pending(wanted):
    return False
  if is_constant(wanted):
    return _fits_as_constant(given, wanted)
  return evaluation.degree_below(given) <= evaluation.degree_below(wanted) and _fits_as_polynomial(given, wanted)


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


def _fits_as_constant(given: Node, wanted: Node) -> bool:
  if rational(wanted) is not None:
    return True
  if evaluation.is_collected(wanted) and not evaluation.is_collected(given):
    return False
  return evaluation.is_complex_number(given) or not evaluation.is_complex_number(wanted)


def _fits_as_polynomial(given: Node, wanted: Node) -> bool:
  if not _is_polynomial(wanted) or any(node.op in _COUNTS for node in walk(given)):
    return True
  if not _is_polynomial(given):
    return False
  count = _factors(wanted)
  if count is not None:
    found = _factors(given)
    return found is not None and found >= count
  if _is_expanded(wanted) and not any(node.op == "quotient" and node.args[0].op == "sum" for node in walk(wanted)):
    return _is_expanded(given) and (evaluation.is_collected(given) or not evaluation.is_collected(wanted))
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
  counted = [(factor, times) for factor, times in factors(tree) if symbols(factor)]
  total = sum((times for _, times in counted), Fraction(0))
  return total if total > 1 and any(factor.op == "sum" for factor, _ in counted) else None


def _is_expanded(tree: Node) -> bool:
  """Whether each term is a product of numbers and powers of symbols."""
  return all(factor.op != "sum" for term in terms(tree) for factor, _ in factors(term) if symbols(factor))
