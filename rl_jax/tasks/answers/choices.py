"""Letters of options in responses: "The answer is (A).", **B**, "Answer: D) text", "option E"."""

from __future__ import annotations

import re

from rl_jax.tasks.answers import finding, spans
from rl_jax.tasks.answers.plain import ascii_latex, plain

_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|textrm|mbox)\s*\{([^{}]*)\}")
# Possessive, as a long run of brackets could be divided among its parts in many ways.
_OPENING = r"[\s\"'(\[{*_`$]*+(?:\\[(\[])?+\s*+(?:\\(?:text|textbf|mathrm|mathbf)\s*+\{)?+[\"'(\[{*_`$]*+"
_LETTER = re.compile(
  rf"{_OPENING}(?:(?i:option|choice|answer)\s*(?:is\s*)?:?\s*)?{_OPENING}(?P<letter>[A-Z])(?P<rest>(?![\w^]|['’](?![\s.,]*$)).*)",
  re.DOTALL,
)
_LOWER = re.compile(r"\(?([a-z])[).]?")
_SENTENCE = re.compile(
  r"\b(?:answer|option|choice|statement|selection)(?: (?:to|for) [^.:]{1,60}?)?[*_]* "
  r"(?:is|would be|must be|should be)\b(?! not\b)[*_]*:?|\b(?:choose|select|pick|go with)\b",
  re.IGNORECASE,
)
_NAMED = re.compile(
  r"\b(?:option|choice|answer)\s+[(\[*]*([A-Z])[)\]*]*\s+(?:is|must be|seems|would be) "
  r"(?:the |most |thus |therefore |likely )*(?:correct|right|best|true|answer)\b",
  re.IGNORECASE,
)
_ANOTHER = re.compile(
  r"[\s)\]}*_`$\\]*+[,/]?(?:\s*+\b(?:and|or)\b|(?<=[,/])|&)"
  r"[\s(\[{*$\\]*+(?:option |choice )?+[\s(\[{*$\\]*+(?:[A-Z]\b(?!')|\d)"
)
_MORE_LETTERS = re.compile(r"(?:(?:[^\w\\]|_|\\(?:[A-Za-z]+|.))*+\b[A-Z]\b)+[\W_]*")
_CLOSING = re.compile(r"""(?:[)\]}*_`$"'.:,;]|\\[)\]])*+""")
_OPERATORS = tuple("=<>+*/^")
_PROSE = re.compile(r"\s+(?!because|since|as\b|is\b|which|for\b|based|due|and\b|or\b|with\b)[a-z]")
_LINES = 400
"""Characters of a line in which a letter is looked for."""


def choice(response: str) -> str | None:
  """The letter of the option that a response chooses, in upper case; None: it chooses none, or several.

  A box decides where there is one, else the last line with a statement of a choice, else the last line of all if it is
  a letter.

  >>> choice("So the answer is (B)."), choice("**C**"), choice("The answer is A or B.")
  ('B', 'C', None)
  """
  box = spans.boxed(response)
  if box is not None:
    return letter(box)
  lines = [line for line in response.splitlines() if line.strip()]
  line = finding.last_line(response)
  if line and (option := letter(line[:_LINES])):
    return option
  for line in reversed(lines):
    line = line[-_LINES:]
    ends = [*(match.end() for match in _SENTENCE.finditer(line))]
    for end in reversed(ends):
      if option := letter(line[end:]):
        return option
    if mentions := [*_NAMED.finditer(line)]:
      return mentions[-1][1].upper()
  return letter(lines[-1].lstrip("#>-+* \t")) if lines and len(lines[-1]) <= _LINES else None


def letter(text: str) -> str | None:
  """The letter that text begins with, alone or as the mark of an option's text; None: there is none, or another too."""
  text = ascii_latex(text).strip()
  bare = _TEXT.sub(r"\1", plain(text))
  if lower := _LOWER.fullmatch(bare):
    return lower[1].upper()
  match = _LETTER.match(text)
  return match["letter"] if match is not None and _is_alone(match["rest"]) else None


def _is_alone(rest: str) -> bool:
  """Return whether the text after a letter closes its marks and is empty, its option or a reason."""
  if _ANOTHER.match(rest) or _MORE_LETTERS.fullmatch(rest):
    return False
  closing = _CLOSING.match(rest)
  assert closing is not None, "there may be no marks"
  marks, after = closing[0], rest[closing.end() :]
  if not marks:
    return (not after or after[0].isspace()) and not (
      after.lstrip().startswith((*_OPERATORS, "-")) or _PROSE.match(after)
    )
  if not after or marks[-1] in ":;,":
    return True
  if after.lstrip().startswith(_OPERATORS):
    return False
  return after[0].isspace() or after[0] == "\\" or marks[-1] in ")]."
