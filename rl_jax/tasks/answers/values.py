"""Types of answers. Every answer is parsed to one of them, and values are compared by type."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

from rl_jax.tasks.answers.trees import Node


@dataclasses.dataclass(frozen=True)
class Number:
  """A number that was written as one: whole, decimal, fraction, mixed or in scientific notation.

  Attributes:
    decimal: written with a point or a negative exponent, so that it may be a rounded one.
  """

  value: Fraction
  decimal: bool = False


@dataclasses.dataclass(frozen=True)
class Expression:
  """A formula."""

  tree: Node


@dataclasses.dataclass(frozen=True)
class Quantity:
  """A number or formula with one unit: "%", "degree", a sign of currency, or words."""

  amount: Number | Expression
  unit: str


@dataclasses.dataclass(frozen=True)
class NumeralInBase:
  """A numeral with its base, as 1010_2."""

  digits: str
  base: str


@dataclasses.dataclass(frozen=True)
class Choice:
  """The letter of an option."""

  letter: str


@dataclasses.dataclass(frozen=True)
class Text:
  """Words, or text of no other kind: equal to the same characters alone."""

  characters: str


@dataclasses.dataclass(frozen=True)
class Approximation:
  r"""A formula and the decimal that it is about: \sqrt{2} \approx 1.414."""

  exact: Number | Expression
  decimal: Number


@dataclasses.dataclass(frozen=True)
class Bracket:
  r"""Items in order between brackets: a tuple, a vector or an interval, as their brackets say."""

  opening: str
  items: tuple[Value, ...]
  closing: str


@dataclasses.dataclass(frozen=True)
class Collection:
  """Items without order. A set holds each once; a list counts them."""

  items: tuple[Value, ...]
  is_set: bool = False


@dataclasses.dataclass(frozen=True)
class UnionOfParts:
  """Intervals and sets joined by a sign of union."""

  parts: tuple[Value, ...]


@dataclasses.dataclass(frozen=True)
class Matrix:
  """Rows of entries; a determinant is written between bars."""

  rows: tuple[tuple[Value, ...], ...]
  is_determinant: bool = False


@dataclasses.dataclass(frozen=True)
class NamedValue:
  """A value with the name before its sign of equality, of membership or of order: x = 5, f(x) = x, x > 1."""

  name: str
  value: Value


@dataclasses.dataclass(frozen=True)
class Relation:
  """Two formulas and the sign between them: "=", "<", "le" or "ne"."""

  left: Node
  sign: str
  right: Node


Value = (
  Number
  | Expression
  | Quantity
  | NumeralInBase
  | Choice
  | Text
  | Approximation
  | Bracket
  | Collection
  | UnionOfParts
  | Matrix
  | NamedValue
  | Relation
)
"""An answer."""
