r"""Search for answers in responses: tags, boxes, "Answer:" lines, formulas and numbers. Time is linear in the text.

Only the last statement counts, so a response gains nothing by several answers. Boxes and formulas that commas, "and"
or "or" join are one statement, a list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rl_jax.tasks.answers import numbers, reading
from rl_jax.tasks.answers.plain import ascii_latex
from rl_jax.tasks.answers.spans import Span, before_open_box, boxed, formulas, statement

_LABEL_CHARACTERS = 40
"""Characters after a label that are searched for another one: "Final answer: The final answer is …"."""
_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_DRESS = " \t>#*_`|-+•"
# Marks of lists, headings, quotes, tables and emphasis, and numbers of lists.
_MARKS = re.compile(
  r"(?:[^\w\\<]|_|</?(?:b|i|u|em|strong)>|\\(?:text|textbf|mathbf)\{)*+(?:\d{1,2}[.)][ \t]+[^\w\\]*+)?"
)
_LABEL = re.compile(
  r"(?:(?:the|my|our|so|final|correct|and|therefore|thus|hence|short)[ ,]+)*answer(?: \([^()]{1,40}\))?[*_ \t]*"
  r"(?:(?P<colon>[:：=])(?:[*_}]|</?(?:b|i|u|em|strong)>)*|$)",
  re.IGNORECASE,
)
_SENTENCE = re.compile(r"\banswer(?: to [^.:]{1,80}?)? (?:is|are|would be|must be|equals)\b[*_]*:?", re.IGNORECASE)
_CLAUSE = re.compile(r"\.\s|\n|(?<!\s),?\s++(?:because|since|as|which|where|so)\b", re.IGNORECASE)
_HOPE = re.compile(r"(?<!\s)\s++I hope (?:it|this) is correct\.?$")

_NAME = re.compile(r"\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\([A-Za-z]\))?")

_NUMBER = re.compile(
  rf"(?<![\w.])(?<!\d[,:/]){numbers.EXPRESSION}(?:\s?\\?%)?"
  r"(?![-,:/]?\d|\.+\d|\s*\^(?!\{?\\circ)|\}\s*\{|\s*\\(?:pi|sqrt|surd|[dt]?frac)|[eijknxyz]\b|_\w|[A-Za-z]{1,3}\d)"
)
_SIGN = re.compile(r"(?P<before>[-+]?)(?P<gap>\s?)(?:\\?[$€£¥₹]\s?)?(?P<after>[-+]?)$")
_PIECE = re.compile(r"(?:\^|_|\\[dtc]?frac|\\sqrt|\\surd|\]|\})\s*\{?\s*[-+]?$|\d-\d+-$")
_SEPARATOR = re.compile(r"(?<=\d)(?:\{,\}|,|\\!|\\,|[ ~](?=\d{3}(?!\d|\s*/)))")


def last_tag(response: str) -> str | None:
  """The text of the last <answer>…</answer>."""
  end = None
  for tag in reversed([*_TAG.finditer(response)]):
    if tag[1]:
      end = tag.start()
    elif end is not None:
      return response[tag.end() : end].strip()
  return None


def last_line(response: str) -> str | None:
  """The rest of the last line that begins with "Answer:", or of the last sentence "The answer is …".

  Markdown around the label is no part of the answer. After a label with nothing on its line it is the next paragraph.
  """
  lines = response.splitlines()
  for at in range(len(lines) - 1, -1, -1):
    if "nswer" not in lines[at] and "NSWER" not in lines[at]:
      continue
    marks = _MARKS.match(lines[at])
    assert marks is not None, "there may be no marks"
    line = lines[at][marks.end() :]
    label = _LABEL.match(line)
    if label is None:
      sentences = [*_SENTENCE.finditer(line)]
      if not sentences:
        continue
      rest = line[sentences[-1].end() :]
    else:
      rest = line[label.end() :].strip()
      if again := _SENTENCE.search(rest, 0, _LABEL_CHARACTERS):
        rest = rest[again.end() :]
    rest = _undressed(rest, lines[at]) or _paragraph(lines[at + 1 :])
    if rest or (label is not None and label["colon"]):
      return rest
  return None


def _undressed(rest: str, line: str) -> str:
  """The rest of a line without the ends of marks that began before it: of emphasis, tables and breaks of lines."""
  rest = _HOPE.sub("", rest.strip()).removesuffix(" \\").rstrip()
  if line.lstrip().startswith("|"):
    rest = rest.rstrip("| ")
  if len(re.findall(r"\*+", rest)) % 2:
    rest = rest.rstrip("*")
  return rest.removesuffix("}") if rest.count("}") > rest.count("{") else rest


def _paragraph(lines: Sequence[str]) -> str:
  """The first lines that are not blank."""
  paragraph: list[str] = []
  for line in lines:
    if line.strip(_DRESS):
      paragraph.append(line)
    elif paragraph:
      break
  return "\n".join(paragraph).strip()


def last_number(response: str) -> str | None:
  r"""The last number, with its sign, without currency and without separators of thousands.

  A number is never a piece of something larger: of a time, a date, a tight list, a power, a root.

  >>> last_number("so −$1,200"), last_number("it is 3/4."), last_number("from 5–10"), last_number("at 2:30")
  ('-1200', '3/4', '10', None)
  """
  for line in reversed(response.splitlines()):
    line = ascii_latex(line)
    for match in reversed([*_NUMBER.finditer(line)]):
      number = _with_sign(line, match)
      if number is not None:
        return number
  return None


def _with_sign(line: str, match: re.Match[str]) -> str | None:
  """The number that was found, with its sign; None: it is a piece of something else.

  A sign after a digit, a letter or a bracket is that of a difference or a range.
  """
  before = line[max(0, match.start() - 12) : match.start()]
  if _PIECE.search(before):
    return None
  sign = _SIGN.search(before)
  assert sign is not None, "every part of it may be missing"
  is_minus = sign["after"] == "-"
  if sign["before"] == "-":
    left = before[: sign.start()]
    tight = not sign["gap"] and not (left and (left[-1].isalnum() or left[-1] in ")]}%"))
    is_minus = tight or left.rstrip().endswith(("=", "(", ":", "<", ">"))
  elif is_minus and sign.start("after") > 0:
    left = before[: sign.start("after")]
    is_minus = not (left[-1].isalnum() or left[-1] in ")]}%")
  text = _SEPARATOR.sub("", match[0])
  return (f"-{text}" if is_minus else text) if numbers.read(text) else None


def final_answer(response: str) -> str | None:
  r"""The last \boxed{…}; else the answer on the last "Answer:" line, else the last formula, else the last number.

  A number on a later line than the last formula is the answer. None: the response has none of them.
  """
  box = boxed(response)
  if box is not None:
    return box
  response = before_open_box(response)
  line = last_line(response)
  if line:
    return _on_line(line)
  spans = formulas(response)
  if not spans:
    return last_number(response)
  last = spans[-1].inside(response)
  line_end = response.find("\n", spans[-1].end)
  start = spans[-1].end if _NAME.fullmatch(last) else line_end if line_end >= 0 else len(response)
  return last_number(response[start:]) or statement(response, _without_names(response, spans))


def _without_names(text: str, spans: Sequence[Span]) -> Sequence[Span]:
  """The formulas up to the last one that is more than a name, if there is one."""
  for last in range(len(spans), 0, -1):
    if not _NAME.fullmatch(spans[last - 1].inside(text)):
      return spans[:last]
  return spans


def _on_line(line: str) -> str:
  """The answer in the rest of a line: all of it, its first clause, or the last formula or only number in them."""
  clause = _CLAUSE.split(line, maxsplit=1)[0].strip() or line
  for text in (line, clause):
    if reading.is_value(text):
      return text
  for text in (clause, line):
    if spans := formulas(text):
      return statement(text, _without_names(text, spans))
  candidates = [number for match in _NUMBER.finditer(clause) if (number := _with_sign(clause, match))]
  return candidates[0] if len(candidates) == 1 else clause
