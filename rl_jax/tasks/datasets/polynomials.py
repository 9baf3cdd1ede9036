"""Polynomials of answers: sums of terms with exact factors, read from text. Imports no JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar

from rl_jax.tasks.datasets import formulas

Term = tuple[tuple[str, int], ...]
"""Names and their powers, sorted."""


@dataclasses.dataclass(frozen=True)
class _Polynomial:
  """A sum of terms; operators that would have to expand a product of sums raise ValueError."""

  terms: Mapping[Term, Fraction]

  LARGEST_POWER: ClassVar[int] = 1000
  MOST_BITS: ClassVar[int] = 8192

  def __post_init__(self) -> None:
    if any(_bits(factor) > self.MOST_BITS for factor in self.terms.values()):
      raise ValueError("a factor that is too large")

  def __add__(self, other: _Polynomial) -> _Polynomial:
    terms = dict(self.terms)
    for term, factor in other.terms.items():
      terms[term] = terms.get(term, Fraction(0)) + factor
    return _Polynomial({term: factor for term, factor in terms.items() if factor})

  def __neg__(self) -> _Polynomial:
    return _Polynomial({term: -factor for term, factor in self.terms.items()})

  def __sub__(self, other: _Polynomial) -> _Polynomial:
    return self + -other

  def __mul__(self, other: _Polynomial) -> _Polynomial:
    few, many = sorted((self, other), key=lambda polynomial: len(polynomial.terms))
    if len(many.terms) > 1 and few.terms.keys() - {()}:
      raise ValueError("a product with a sum is not expanded")
    return _Polynomial(
      {_joined(left, right): self.terms[left] * other.terms[right] for left in self.terms for right in other.terms}
    )

  def __truediv__(self, other: _Polynomial) -> _Polynomial:
    return self * _Polynomial({(): 1 / other._constant()})

  def __pow__(self, other: _Polynomial) -> _Polynomial:
    power = other._constant()
    if len(self.terms) > 1 or power.denominator > 1 or not 0 <= power <= self.LARGEST_POWER:
      raise ValueError("a power that is not expanded")
    if not self.terms:
      return _Polynomial({} if power else {(): Fraction(1)})
    [(term, factor)] = self.terms.items()
    if power * _bits(factor) > 2 * self.MOST_BITS:
      raise ValueError("a power that is too large")
    raised = tuple((name, count * int(power)) for name, count in term if power)
    return _Polynomial({raised: factor ** int(power)})

  def _constant(self) -> Fraction:
    if self.terms.keys() - {()}:
      raise ValueError("not a constant")
    return self.terms.get((), Fraction(0))


def _bits(number: Fraction) -> int:
  return max(number.numerator.bit_length(), number.denominator.bit_length())


def _joined(left: Term, right: Term) -> Term:
  powers = dict(left)
  for name, power in right:
    powers[name] = powers.get(name, 0) + power
  return tuple(sorted(powers.items()))


def expanded_polynomial(text: str, variables: tuple[str, ...]) -> Mapping[Term, Fraction]:
  """Terms of a polynomial with whole or fractional factors; ValueError where a product of sums is left in it.

  >>> expanded_polynomial("x*x + 3*x**2/2 - 0*x", ("x",))
  {(('x', 2),): Fraction(5, 2)}
  """

  def number(constant: int | float) -> _Polynomial:
    if not isinstance(constant, int):
      raise ValueError(f"not a whole number: {constant}")
    return _Polynomial({(): Fraction(constant)} if constant else {})

  names = {name: _Polynomial({((name, 1),): Fraction(1)}) for name in variables}
  return formulas.Reader(number, names).value(formulas.parse(text)).terms
