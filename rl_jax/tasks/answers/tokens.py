r"""Answers as tokens: commands are read whole, so that `\\` is never taken for a gap and `\leftarrow` for `\left`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rl_jax.tasks.answers import commands

MOST_TOKENS = 1500
MOST_NESTING = 4
"""Most levels of texts within texts."""


class Token(NamedTuple):
  r"""A piece of an answer.

  Attributes:
    kind: "number"; "letters", a run of them in a formula; "word", a run in `\text`; "name", the argument of `\mathrm`;
      "command"; "begin" and "end" of an environment; "row", `\\`; "sign", one character; "unknown".
    text: for a number without separators, for a command without its backslash.
    spaced: after a blank.
  """

  kind: str
  text: str
  spaced: bool = False

  def is_sign(self, *signs: str) -> bool:
    """Return whether this is one of the signs."""
    return self.kind == "sign" and self.text in signs

  def is_command(self, *names: str) -> bool:
    """Return whether this is one of the commands."""
    return self.kind == "command" and self.text in names


class TooLong(ValueError):
  """The text has more tokens or deeper texts than an answer."""


_NUMBER = (
  r"(?:[1-9]\d{0,2}(?P<sep>\{,\}|,\\!|\\,)\d{3}(?:(?P=sep)\d{3})*(?!\d)|\d+)"
  r"(?:\.(?!\.)\d*)?(?:[eE][-+]?\d+(?![\d.]))?|\.\d+"
)
_PIECE = re.compile(
  rf"(?P<gap>(?:\s|~|\\[ ,;:!>]|\\\n)+)|(?P<row>\\\\\*?(?:\[[^\]\n]{{0,20}}\])?)|\\(?P<command>[A-Za-z]+|[^\s])"
  rf"|(?P<number>{_NUMBER})|(?P<letters>[^\W\d_]+)|(?P<dots>\.\.\.+)|(?P<sign>.)",
  re.DOTALL,
)
_ENVIRONMENT = re.compile(r"\s*\{\s*([A-Za-z]+)\*?\s*\}")
_COLUMNS = re.compile(r"\s*\{[^{}]{0,40}\}")
_BLACKBOARD = re.compile(r"\s*(?:\{\s*([A-Z])\s*\}|([A-Z]))")
_BY_LENGTH = sorted(commands.SPLITTABLE, key=len, reverse=True)


def tokenize(text: str) -> list[Token]:
  r"""The tokens of plain text.

  >>> [token.text for token in tokenize(r"\left(1 \\ 2\right) \leftarrow \lnx 1{,}200")]
  ['(', '1', '\\\\', '2', ')', 'leftarrow', 'ln', 'x', '1200']

  Raises: TooLong.
  """
  return list(_merged(_pieces(text, "", MOST_NESTING)))


def _pieces(text: str, within: str, nesting: int) -> list[Token]:
  """Tokens of a formula, or of the argument of the command `within`."""
  if nesting == 0:
    raise TooLong(f"texts nested more than {MOST_NESTING} deep")
  tokens: list[Token] = []
  at, spaced = 0, False
  while at < len(text):
    match = _PIECE.match(text, at)
    assert match is not None and match.lastgroup is not None, "the last alternative takes any character"
    at, kind = match.end(), match.lastgroup
    kind = "number" if kind == "sep" else kind
    if kind == "gap":
      spaced = True
      continue
    if kind == "command":
      new, at = _command(match["command"], text, at, nesting)
    elif kind == "number":
      new = [Token("number", re.sub(r"[^\d.eE+-]", "", match["number"]))]
    elif kind == "letters":
      new = [Token("word" if within or not match["letters"].isascii() else "letters", match["letters"])]
    elif kind == "dots":
      new = [Token("command", "dots")]
    else:
      new = [Token(kind, "\\\\" if kind == "row" else match[0])]
    if new:
      tokens += [new[0]._replace(spaced=spaced or new[0].spaced), *new[1:]]
      spaced = False
    if len(tokens) > MOST_TOKENS:
      raise TooLong(f"more than {MOST_TOKENS} tokens")
  return tokens


def _command(name: str, text: str, at: int, nesting: int) -> tuple[list[Token], int]:
  """Tokens of the command that ends at `at`, and where they end."""
  if name in commands.SIZES:
    if name in commands.DELIMITED and (empty := re.compile(r"\s*\.(?!\d)").match(text, at)):
      at = empty.end()
    return [], at
  if name in commands.TEXT:
    return _text(name, text, at, nesting)
  if name == "cr":
    return [Token("row", "\\\\")], at
  if name in ("begin", "end"):
    match = _ENVIRONMENT.match(text, at)
    if match is None:
      return [Token("unknown", name)], at
    at = match.end()
    if name == "begin" and match[1] in ("array", "tabular") and (columns := _COLUMNS.match(text, at)):
      at = columns.end()
    return [Token(name, match[1])], at
  if name == "mathbb" and (match := _BLACKBOARD.match(text, at)):
    return [Token("command", f"mathbb{match[1] or match[2]}")], match.end()
  if name in commands.FONTS:
    return [], at
  return _named(name), at


def _named(name: str) -> list[Token]:
  alias = commands.SAME.get(name, name)
  if alias in commands.KNOWN:
    return [Token("command", alias)]
  if name in commands.SAME:
    return [Token("sign", alias)] if alias else []
  prefix = next((command for command in _BY_LENGTH if name.startswith(command)), None)
  if prefix is None or name.endswith("arrow"):
    return [Token("unknown", name)]
  return [*_named(prefix), Token("letters", name[len(prefix) :])]


def _text(name: str, text: str, at: int, nesting: int) -> tuple[list[Token], int]:
  r"""Tokens of the argument of \text and its like. One letter alone is a symbol or a unit, as the e of \mathrm{e}."""
  opening = re.compile(r"\*?\s*\{").match(text, at)
  if opening is None:
    return [], at
  end = closing_brace(text, opening.end())
  if end is None:
    return [Token("unknown", name)], at
  inner = text[opening.end() : end]
  if inner.count("$") % 2 == 0:  # formulas within the words
    inner = inner.replace("$", " ")
  tokens = _pieces(inner, name, nesting - 1)
  if len(tokens) == 1 and tokens[0].kind == "word":
    word = tokens[0].text
    if word in commands.LETTER_UNITS or (len(word) > 1 and name in commands.UPRIGHT and word not in commands.KNOWN):
      tokens = [Token("name", word)]
    elif len(word) == 1:
      tokens = [Token("letters", word)]
    elif word in (commands.KNOWN if name in commands.UPRIGHT else commands.FUNCTIONS):
      tokens = [Token("command", word)]
  if tokens and text[opening.end()].isspace():
    tokens[0] = tokens[0]._replace(spaced=True)
  return tokens, end + 1


def closing_brace(text: str, at: int) -> int | None:
  """Index of the brace that closes the one opened before `at`, or None. Escaped braces do not count."""
  depth = 1
  for brace in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, at):
    if brace[0] == "{":
      depth += 1
    elif brace[0] == "}":
      depth -= 1
      if depth == 0:
        return brace.start()
  return None


def _merged(tokens: Sequence[Token]) -> Iterable[Token]:
  r"""Tokens with `^\circ` as a degree and `^\prime` as an apostrophe, braces around them or not."""
  at = 0
  while at < len(tokens):
    token, after = tokens[at], tokens[at + 1 : at + 4]
    braced = len(after) == 3 and after[0].is_sign("{") and after[2].is_sign("}")
    mark = after[1] if braced else after[0] if after else None
    if token.is_sign("^") and mark is not None and mark.is_command("circ", "degree"):
      yield Token("command", "degree", token.spaced)
      at += 4 if braced else 2
    elif token.is_sign("^") and mark is not None and mark.is_sign("'"):
      yield Token("sign", "'", token.spaced)
      at += 4 if braced else 2
    else:
      yield token
      at += 1


def canonical(tokens: Sequence[Token]) -> str:
  """The tokens as text in which blanks, the case of words and braces around a script of one token do not count."""
  shortened = list(tokens)
  for at in range(len(shortened) - 3, 0, -1):
    if shortened[at - 1].is_sign("^", "_") and shortened[at].is_sign("{") and shortened[at + 2].is_sign("}"):
      shortened[at : at + 3] = [shortened[at + 1]]
  pieces: list[str] = []
  for token, before in zip(shortened, [None, *shortened], strict=False):
    if token.kind in ("word", "name", "letters") and len(token.text) > 1:
      pieces.append(token.text.casefold())
    elif token.kind in ("command", "begin", "end", "unknown"):
      pieces.append(f"\\{token.text} ")
    else:
      pieces.append(" " * (token.kind == "number" and before is not None and before.kind == "number") + token.text)
  return "".join(pieces)
