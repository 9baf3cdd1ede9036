r"""Runs of letters as functions, Greek letters and products of single letters: 2sinx, pir^2, ab."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rl_jax.tasks.answers import commands
from rl_jax.tasks.answers.tokens import Token
from rl_jax.tasks.answers.trees import Unreadable

MOST_LETTERS = 4
"""Most letters of a run that is taken for a product; a longer one is a word."""

_ENGLISH = frozenset(
  "are but can does for from has have let not only our such than that the their then there these they this thus was"
  " were when where which will with yes you all any each none both some every".split()
)
"""Short words that no formula writes."""
_SHORT = frozenset("if is it of so to we".split())
"""Words where blanks divide them from letters or numbers; else products, as in e^{it}."""
_BY_LENGTH = sorted(commands.FUNCTIONS - {"lg"} | {"sqrt"}, key=len, reverse=True)
_FUNCTION = re.compile("(" + "|".join(_BY_LENGTH) + ")")
_FORMULA = re.compile(rf"(?:{_FUNCTION.pattern}+[A-Za-z]?)+|[A-Za-z]|{'|'.join(sorted(commands.WORDS))}")


def split_letters(tokens: Sequence[Token]) -> list[Token]:
  """Tokens with runs of letters as functions, Greek letters and single letters.

  Raises: Unreadable: a run is a word.
  """
  split: list[Token] = []
  for at, token in enumerate(tokens):
    if token.kind != "letters" or len(token.text) == 1:
      split.append(token)
      continue
    if token.text.casefold() in _ENGLISH or _is_short_word(tokens, at):
      raise Unreadable(f"{token.text!r} is a word")
    for piece in [token.text] if token.text in commands.WORDS else _FUNCTION.split(token.text):
      if piece in commands.WORDS:
        name = commands.SAME.get(piece, piece)
        split.append(Token("command", "surd" if name == "sqrt" else name))
      elif len(piece) > MOST_LETTERS:
        raise Unreadable(f"{piece!r} is a word")
      else:
        split += [Token("letters", letter) for letter in piece]
  return split


def _is_short_word(tokens: Sequence[Token], at: int) -> bool:
  if tokens[at].text.casefold() not in _SHORT or not (at == 0 or tokens[at].spaced):
    return False
  if at + 1 == len(tokens):
    return at > 0 and tokens[at - 1].kind == "number"
  after = tokens[at + 1]
  return after.spaced and after.kind in ("letters", "word", "name", "number")


def are_formula(words: str) -> bool:
  """Return whether words are letters and names of functions and of Greek letters, as in sin x, lnx and pi.

  >>> are_formula("sin x"), are_formula("lnx"), are_formula("none")
  (True, True, False)
  """
  return all(map(_FORMULA.fullmatch, re.findall(r"\w+", words)))
