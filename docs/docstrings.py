"""Docstrings of the house as reStructuredText: indented formulas become code, lists of names become lists."""

from __future__ import annotations

import re
import textwrap

SECTIONS = ("Args", "Attributes", "Raises", "Returns", "Yields")
"""Headings that Sphinx's napoleon reads itself."""
_HEADING = re.compile(rf"({'|'.join(SECTIONS)}):(?: (.*))?$")
_LABEL = re.compile(r"(Config|Inferred|Metrics|Result|Source): ")
"""Beginnings of a method's last lines, each a paragraph."""
_ITEM = re.compile(r"(?P<name>[\w`\"/<>,. ()-]{1,40}): (?P<text>\S.*)")


def rst(text: str) -> str:
  r"""A docstring as reStructuredText with sections of Google's style.

  >>> print(rst("Sum of a*.\n\n  s = a + b\n\nRaises: ValueError: none."))
  Sum of a\*.
  <BLANKLINE>
  .. code-block:: text
  <BLANKLINE>
     s = a + b
  <BLANKLINE>
  Raises:
      ValueError: none.
  """
  result: list[str] = []
  for kind, lines in _blocks(text.splitlines()):
    if kind == "section":
      result += ["", *_section(lines), ""]
    elif kind == "indented":
      result += ["", *_indented(lines), ""]
    elif kind == "example":
      result += ["", *lines, ""]
    elif kind == "bullets":
      result += ["", *map(_escaped, lines), ""]
    else:
      result += [("\n" if _LABEL.match(line) else "") + _escaped(line) for line in lines]
  return re.sub(r"\n{3,}", "\n\n", "\n".join(result)).strip("\n")


def _blocks(lines: list[str]) -> list[tuple[str, list[str]]]:
  """Runs of lines of one kind."""
  blocks: list[tuple[str, list[str]]] = []
  for line in lines:
    before = blocks[-1][0] if blocks else ""
    is_deeper = line.startswith(" ") or not line.strip()
    goes_on = {"section": is_deeper, "example": bool(line.strip()), "bullets": line.startswith(" ")}
    if goes_on.get(before):
      kind = before
    elif _HEADING.match(line):
      kind = ""
      blocks.append(("section", []))
    else:
      kind = "text" if not is_deeper else "empty" if not line.strip() else "indented"
      kind = "example" if line.startswith(">>>") else "bullets" if line.startswith("- ") else kind
    if kind and kind != before:
      blocks.append((kind, []))
    blocks[-1][1].append(line)
  return blocks


def _section(lines: list[str]) -> list[str]:
  heading = _HEADING.match(lines[0])
  body = [_escaped(line) for line in textwrap.dedent("\n".join(lines[1:])).strip("\n").splitlines()]
  if heading[2]:
    body = [_escaped(heading[2]), *(f"  {line.strip()}" for line in body)]
  return [f"{heading[1]}:", *(f"    {line}" if line else "" for line in body)]


def _indented(lines: list[str]) -> list[str]:
  """A list, where all outer lines are `name: text` and few are equations; else code."""
  block = textwrap.dedent("\n".join(lines)).splitlines()
  outer = [line for line in block if not line.startswith(" ")]
  is_equation = lambda line: " = " in line or "  " in line
  if not all(map(_ITEM.fullmatch, outer)) or 2 * sum(map(is_equation, outer)) > len(outer):
    return [".. code-block:: text", "", *(f"   {line}" for line in block)]
  result = []
  for line in block:
    item = _ITEM.fullmatch(line)
    if line.startswith(" ") or not item:
      result.append(f"  {_escaped(line.strip())}")
    else:
      result.append(f"- ``{item['name'].replace('`', '')}``: {_escaped(item['text'])}")
  return result


def _escaped(line: str) -> str:
  """A line of text: code in backticks is a literal, signs that mean something else in the markup are kept."""
  parts = re.split(r"(`+[^`]+`+)", line)
  text = lambda part: re.sub(r"([*|\\]|(?<=\w)_(?!\w)|(?<=:):)", r"\\\1", part)
  return "".join(f"``{part.strip('`')}``" if part.startswith("`") else text(part) for part in parts)
