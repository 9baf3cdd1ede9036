r"""Answers as typed values. Anything of no other kind is text, which equals the same characters alone.

A text has several readings where its commas may be of thousands or of a list, 100,200, or an upright letter may be a
unit or a symbol, 5\mathrm{m}.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from rl_jax.tasks.answers import groups, numbers, quantities, relations
from rl_jax.tasks.answers.letters import MOST_LETTERS, are_formula
from rl_jax.tasks.answers.plain import MOST_CHARACTERS, plain
from rl_jax.tasks.answers.syntax import tree_of, tree_with_signs
from rl_jax.tasks.answers.tokens import Token, TooLong, canonical, tokenize
from rl_jax.tasks.answers.trees import Node, Unreadable, is_literal, number, rational, replaced, walk
from rl_jax.tasks.answers.values import (
  Bracket,
  Choice,
  Collection,
  Expression,
  Matrix,
  NamedValue,
  Number,
  NumeralInBase,
  Quantity,
  Text,
  UnionOfParts,
  Value,
)

MOST_ITEMS = 64
"""Most items of a list; a longer one is text."""
_SPOILT = re.compile(r"\\boxed|\\fbox|\\framebox")
_WORDS = re.compile(r"[^\W\d_][^\W\d_ .'-]*(?:[ .'-]+[^\W\d_]+)*")
_CONNECTIVE = re.compile(r"\b(?:and|or)\b", re.IGNORECASE)
_DETERMINANTS = ("vmatrix", "Vmatrix")
_MATRICES = ("matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array", *_DETERMINANTS)


@functools.lru_cache(maxsize=4096)
def read(text: str) -> tuple[Value, ...]:
  r"""The readings of an answer, the likeliest first.

  >>> read("1{,}200")
  (Number(value=Fraction(1200, 1), decimal=False),)
  """
  text = plain(text)
  if len(text) > MOST_CHARACTERS or _SPOILT.search(text):
    return (Text(text),)
  number = numbers.read(text)
  if number is not None and "," not in text:
    return (_written(number),)
  if _WORDS.fullmatch(text) and not are_formula(text) and not _CONNECTIVE.search(text):
    return (Text("".join(text.casefold().split())),)
  try:
    tokens = tokenize(text)
  except TooLong:
    return (Text(text),)
  values = [_written(number)] if number is not None else []
  joined = groups.joined(tokens)
  if joined is not None and number is None:
    values.append(value_of(joined))
  values.append(value_of(tokens))
  if any(token.kind == "name" and len(token.text) == 1 for token in tokens):
    letters = [t._replace(kind="letters") if len(t.text) == 1 and t.kind == "name" else t for t in tokens]
    values.append(value_of(letters))
  return tuple(dict.fromkeys(values))


def is_value(text: str) -> bool:
  """Return whether the whole text is read as something other than words."""
  return not any(_has_words(value) for value in read(text)[:1])


def _has_words(value: Value) -> bool:
  if isinstance(value, NamedValue):
    return _has_words(value.value)
  parts = value.parts if isinstance(value, UnionOfParts) else ()
  parts = value.items if isinstance(value, Bracket | Collection) else parts
  return isinstance(value, Text) or any(map(_has_words, parts))


def _written(number: numbers.Written) -> Value:
  value = Number(number.value, number.decimal)
  return Quantity(value, number.unit) if number.unit else value


def value_of(tokens: Sequence[Token]) -> Value:
  """The value that tokens are; text where they are nothing else."""
  try:
    return _value(tokens)
  except Unreadable:
    return Text(canonical(tokens))


def _value(tokens: Sequence[Token]) -> Value:
  if not tokens:
    raise Unreadable("nothing")
  for read_kind in (_rows, _list, _relation, _union, _in_brackets, _matrix, _letter, _based):
    value = read_kind(tokens)
    if value is not None:
      return value
  quantity = quantities.quantity(tokens, _amount)
  if quantity is not None:
    return quantity
  words = tokens[:-1] if len(tokens) > 1 and tokens[-1].is_sign(".") else tokens
  if all(token.kind in ("word", "name") for token in words) or _are_words(words):
    return Text(canonical(words))
  return _formula(tokens)


def _are_words(tokens: Sequence[Token]) -> bool:
  """Return whether tokens are runs of letters, one of which is too long for a product."""
  long = any(len(token.text) > MOST_LETTERS and not are_formula(token.text) for token in tokens)
  return long and all(token.kind == "letters" for token in tokens)


def _rows(tokens: Sequence[Token]) -> Value | None:
  """Lines of an environment without brackets, or bare ones. Equations need no order."""
  opened = tokens[0].is_command("lbrace")  # by a brace that an empty one closes, \right.
  environment = tokens[opened:]
  if (
    len(environment) > 1
    and environment[0].kind == "begin"
    and (opened or environment[0].text not in _MATRICES)
    and groups.closes(environment) == len(environment) - 1
  ):
    tokens = [token for token in environment[1:-1] if not token.is_sign("&")]
  rows = groups.split(tokens, lambda token: token.kind == "row")
  if len(rows) == 1:
    return _value(rows[0]) if rows[0] and len(rows[0]) < len(tokens) else None
  items = _items(rows if rows[-1] else rows[:-1])
  if all(isinstance(item, NamedValue) for item in items):
    return Collection(items)
  return items[0] if len(items) == 1 else Bracket("rows", items, "rows")


def _list(tokens: Sequence[Token]) -> Value | None:
  parts = groups.split(tokens, groups.separates)
  if len(parts) == 1:
    return None
  items = _items([part for part in parts if part] if groups.has_words(tokens) else parts)
  if groups.joined_by(tokens, "or") and (union := relations.union(items)):
    return union
  return Collection(items) if len(items) > 1 else items[0]


def _items(parts: Sequence[Sequence[Token]]) -> tuple[Value, ...]:
  """The values of the items of a list. Of one that is plus or minus there are two."""
  if len(parts) > MOST_ITEMS:
    raise Unreadable(f"more than {MOST_ITEMS} items")
  items: list[Value] = []
  for part in parts:
    value = _value(part)
    if isinstance(value, Text) and any(token.kind not in ("word", "name", "letters") for token in part):
      raise Unreadable("an item that is words and formulas")
    items += value.items if isinstance(value, Collection) and not value.is_set else (value,)
  if not items:
    raise Unreadable("a list of nothing")
  return tuple(items)


def _relation(tokens: Sequence[Token]) -> Value | None:
  return relations.relation(tokens, _value)


def _union(tokens: Sequence[Token]) -> Value | None:
  parts = groups.split(tokens, lambda token: token.is_command("cup"))
  return UnionOfParts(_items(parts)) if len(parts) > 1 else None


def _in_brackets(tokens: Sequence[Token]) -> Value | None:
  """A value between brackets that belong together."""
  if groups.closes(tokens) != len(tokens) - 1 or tokens[0].kind == "begin":
    return _named_set(tokens)
  opening, closing, inner = tokens[0].text, tokens[-1].text, tokens[1:-1]
  if opening == "lbrace":
    return Collection(_items(groups.split(inner, groups.separates)) if inner else (), is_set=True)
  opening, closing = ("(", ")") if opening == "langle" else (opening, closing)
  parts = groups.split(inner, lambda token: token.is_sign(",", ";"))
  if len(parts) > 1 and opening in "([":
    items = tuple(_value(part) for part in parts)
    if any(isinstance(item, Text) for item in items) or len(items) > MOST_ITEMS:
      raise Unreadable("an item that is no value")
    return Bracket(opening, items, closing)
  if opening in "({" or (inner and inner[0].kind == "begin"):
    return _value(inner)
  return Bracket(opening, (_value(inner),), closing) if opening == "[" else None


def _named_set(tokens: Sequence[Token]) -> Value | None:
  if len(tokens) == 1 and tokens[0].is_command("emptyset"):
    return Collection((), is_set=True)
  if len(tokens) == 1 and tokens[0].is_command("mathbbR"):
    return relations.everything()
  return None


def _matrix(tokens: Sequence[Token]) -> Value | None:
  """A matrix, with a number or formula before it or not, or an array between bars."""
  start = next((at for at, token in enumerate(tokens) if token.kind == "begin"), None)
  if start is None or tokens[start].text not in _MATRICES:
    return None
  before, last = tokens[:start], len(tokens) - 1
  bars = len(before) == 1 and before[0].is_sign("|") and tokens[-1].is_sign("|")
  wrapped = len(before) > 0 and before[-1].is_sign("(", "[") and tokens[-1].is_sign(")", "]")
  before, last = (before[:-1], last - 1) if bars or wrapped else (before, last)
  if start + groups.closes(tokens[start:]) != last:
    raise Unreadable("a matrix within a formula")
  rows = groups.split(tokens[start + 1 : last], lambda token: token.kind == "row")
  cells = [groups.split(row, lambda token: token.is_sign("&")) for row in (rows if rows[-1] else rows[:-1])]
  if sum(map(len, cells)) > MOST_ITEMS or not cells:
    raise Unreadable("a matrix that is too large or empty")
  sign = len(before) == 1 and before[0].is_sign("-")
  factor = number(-1) if sign else tree_of(before) if before else None
  entries = tuple(tuple(_scaled(_formula(cell), factor) for cell in row) for row in cells)
  return Matrix(entries, bars or tokens[start].text in _DETERMINANTS)


def _scaled(entry: Value, factor: Node | None) -> Value:
  if factor is None:
    return entry
  if not isinstance(entry, Number | Expression):
    raise Unreadable("a matrix of something else than formulas")
  tree = Node("product", (factor, number(entry.value) if isinstance(entry, Number) else entry.tree))
  value = rational(tree)
  return Expression(tree) if value is None else Number(value)


def _letter(tokens: Sequence[Token]) -> Value | None:
  """A capital letter, as of an option; a point or bracket may follow."""
  trailing = len(tokens) == 2 and tokens[1].is_sign(")", ".", ":")
  if (len(tokens) == 1 or trailing) and re.fullmatch("[A-Z]", tokens[0].text) and tokens[0].kind != "sign":
    return Choice(tokens[0].text)
  return None


def _based(tokens: Sequence[Token]) -> Value | None:
  """A numeral with its base: a number to 99, or a letter."""
  texts = [token.text for token in tokens if not token.is_sign("{", "}")]
  if tokens[0].kind != "number" or len(texts) != 3 or texts[1] != "_" or not texts[0].isdigit():
    return None
  if not re.fullmatch(r"[1-9]\d?|[A-Za-z]", texts[2]):
    return None
  return NumeralInBase(texts[0].lstrip("0") or "0", texts[2].casefold())


def _amount(tokens: Sequence[Token]) -> Number | Expression:
  value = _formula(tokens)
  if not isinstance(value, Number | Expression):
    raise Unreadable("plus or minus before a unit")
  return value


def _formula(tokens: Sequence[Token]) -> Value:
  """A number or an expression; two of them where it has a sign of plus or minus."""
  mixed = _mixed(tokens)
  if mixed is not None:
    return mixed
  tree = tree_with_signs(tokens)
  rational(tree)  # refuses what is too large to be looked at
  decimal = any(token.kind == "number" and re.search(r"\.|[eE]-", token.text) for token in tokens)
  if any(node.op == "either" for node in walk(tree)):
    return Collection(tuple(_number_or_tree(_chosen(tree, sign), decimal) for sign in ("pm", "mp")))
  return _number_or_tree(tree, decimal)


def _mixed(tokens: Sequence[Token]) -> Number | None:
  """A mixed number in plain text: 3 1/2."""
  signs = len(tokens) == 5 and tokens[0].is_sign("-", "+")
  kinds = [token.kind for token in tokens[signs:]]
  if kinds != ["number", "number", "sign", "number"]:
    return None
  minus = "-" if signs and tokens[0].text == "-" else ""
  number = numbers.read("{}{} {}{}{}".format(minus, *(token.text for token in tokens[signs:])))
  return Number(number.value) if number else None


def _chosen(tree: Node, plus: str) -> Node:
  """The tree with one of the signs of each plus or minus."""
  return replaced(tree, "either", lambda node: node.args[0] if node.value == plus else Node("negative", node.args))


def _number_or_tree(tree: Node, decimal: bool) -> Number | Expression:
  if not is_literal(tree):
    return Expression(tree)
  value = rational(tree)
  assert value is not None, "a literal is a number"
  return Number(value, decimal or (tree.op != "quotient" and value.denominator != 1 and _has_power(tree)))


def _has_power(tree: Node) -> bool:
  return any(node.op == "power" for node in walk(tree))
