"""Fenced code blocks in responses, by CommonMark 4.5 and as models write them.

If the block by CommonMark does not compile, other ends are tried: a fence in a docstring does not end a block, and a
fence with text after it or at the end of a line of code may.
"""

from __future__ import annotations

import ast
import bisect
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

MOST_ATTEMPTS = 32
"""Largest number of attempts, in one response, to end a block elsewhere."""
MOST_CHARACTERS = 30_000
"""Largest number of characters of a compiled block; longer ones are taken as CommonMark reads them."""

_MARKS = re.compile(r"[ \t]*(?:(?:>|[-*+]|\d{1,9}[.)])[ \t]*)*")
_QUOTE = re.compile(r"[ \t]*> ?")
_LANGUAGE = re.compile(r"[ \t]*[\w+#.-]*[ \t]*")
_PYTHON = re.compile(r"[ \t{.]*(?:i?python|py)[23]?(?:\.\d+)?(?:$|[\s:,;={}])", re.IGNORECASE)
_THOUGHT = re.compile(r"^[ \t]*<think>", re.MULTILINE)
_END = re.compile(r"`{3,}|~{3,}|<\|")


class Block(NamedTuple):
  """A fenced block.

  Attributes:
    fence: the characters that open it.
    indent: columns before each line that are no part of it.
    quotes: signs of quotation before each line.
    is_python: None without a language.
    start: its first line.
    end: the line of its closing fence, or one past the last line.
  """

  fence: str
  indent: int
  quotes: int
  is_python: bool | None
  start: int
  end: int = 0


def code_block(response: str) -> str | None:
  r"""The last fenced block that is marked as Python; without one the last that is not marked as another language.

  A block that the response does not close reaches to its end. Text up to </think>, or after <think> where no </think>
  follows, is no part of the answer. None: there is no block.

  >>> code_block("1. So:\n\n   ~~~python\n   x = 1\n   ~~~\n")
  'x = 1\n'
  """
  text = response.replace("\r\n", "\n").replace("\r", "\n")
  lines = _Lines.of(_THOUGHT.split(text.rpartition("</think>")[2], maxsplit=1)[0])
  attempts = iter(range(MOST_ATTEMPTS))
  block, code = _last(_blocks(lines, 0)), None
  while block is not None:
    end, code = _program(lines, block, attempts)
    later = _last(_filled(lines, end + 1)) if end != block.end else None
    block = None if later is None or (block.is_python and not later.is_python) else later
  return code


class _Lines(NamedTuple):
  """Lines of a text, and which of them may open and close blocks."""

  all: Sequence[str]
  openings: Sequence[int]
  closings: Sequence[int]

  @classmethod
  def of(cls, text: str) -> _Lines:
    lines = text.split("\n")
    openings = [at for at, line in enumerate(lines) if "```" in line or "~~~" in line]
    return cls(lines, openings, [at for at in openings if not (lines[at].strip("> \t`") and lines[at].strip("> \t~"))])


def _last(blocks: Iterator[Block]) -> Block | None:
  python = unmarked = None
  for block in blocks:
    if block.is_python:
      python = block
    elif block.is_python is None:
      unmarked = block
  return python or unmarked


def _blocks(lines: _Lines, start: int) -> Iterator[Block]:
  """The blocks from a line on, as CommonMark reads them."""
  at = bisect.bisect_left(lines.openings, start)
  while at < len(lines.openings):
    line = lines.openings[at]
    block = _opened(lines.all[line], line)
    at += 1
    if block is not None:
      end = _end(lines, block)
      yield block._replace(end=end)
      at = bisect.bisect_left(lines.openings, end + 1)


def _filled(lines: _Lines, start: int) -> Iterator[Block]:
  """The blocks with code in them, after one that ended early: its own closing fence opens none."""
  return (block for block in _blocks(lines, start) if any(map(str.strip, lines.all[block.start : block.end])))


def _end(lines: _Lines, block: Block) -> int:
  for at in range(bisect.bisect_left(lines.closings, block.start), len(lines.closings)):
    if _closes(lines.all[lines.closings[at]], block):
      return lines.closings[at]
  return len(lines.all)


def _opened(line: str, at: int) -> Block | None:
  """The block that a line opens: after marks of lists and quotes, or after text and with no more than a language."""
  match = _MARKS.match(line)
  assert match is not None, "there may be no marks"
  marks, start = match[0], match.end()
  if not line.startswith(("```", "~~~"), start):
    last = line.rfind("```") + 3
    if last < 3 or not _LANGUAGE.fullmatch(line, last):
      return None
    marks, start = "", len(line[:last].rstrip("`"))
  info = line[start:].lstrip(line[start])
  if line[start] == "`" and "`" in info:
    return None
  _, quote, indent = marks.rpartition(">")
  return Block(
    fence=line[start : len(line) - len(info)],
    indent=len((indent.removeprefix(" ") if quote else indent).expandtabs(4)),
    quotes=marks.count(">"),
    is_python=bool(_PYTHON.match(info)) if info.strip() else None,
    start=at + 1,
  )


def _closes(line: str, block: Block) -> bool:
  line = _unquoted(line, block).rstrip(" \t")
  bare = line.lstrip(" \t")
  indent = line[: len(line) - len(bare)].expandtabs(4)
  return bare.startswith(block.fence) and not bare.strip(block.fence[0]) and len(indent) <= block.indent + 3


def _unquoted(line: str, block: Block) -> str:
  for _ in range(block.quotes):
    line = _QUOTE.sub("", line, count=1)
  return line


def _content(lines: Sequence[str], block: Block) -> Sequence[str]:
  """Lines of a block without the indentation of its fence."""
  if not block.indent and not block.quotes:
    return lines
  content = []
  for line in lines:
    line = _unquoted(line, block)
    column = at = 0
    while column < block.indent and line[at : at + 1] in (" ", "\t"):
      column += 4 - column % 4 if line[at] == "\t" else 1
      at += 1
    content.append(line[at:])
  return content


def _program(lines: _Lines, block: Block, attempts: Iterator[int]) -> tuple[int, str]:
  """The end and the code of a block; where it does not compile those of the first other end at which it does."""
  content = _content(lines.all[block.start : block.end], block)
  code = "\n".join(content) + "\n" * (block.end < len(lines.all) and bool(content))
  program = _compiled(code)
  if program is None and block.indent:  # behind the mark of a list whose item the code does not belong to
    program = _compiled("\n".join(_content(lines.all[block.start : block.end], block._replace(indent=0))) + "\n")
  if program is not None:
    return block.end, program
  for (end, cut), _ in zip(_other_ends(lines, block.start), attempts, strict=False):
    block_lines = [*lines.all[block.start : end], lines.all[end][:cut]]
    program = _compiled("\n".join(_content(block_lines, block)).rstrip() + "\n")
    if program is not None and program.strip():
      return end, program
  return block.end, code


def _other_ends(lines: _Lines, start: int) -> Iterator[tuple[int, int]]:
  """Lines, and columns in them, at which a block may end: at fences and at special tokens."""
  characters = 0
  for at in range(start, len(lines.all)):
    if match := _END.search(lines.all[at]):
      yield at, match.start()
    characters += len(lines.all[at])
    if characters > MOST_CHARACTERS:
      return


def _compiled(code: str) -> str | None:
  """The code, or the code without a common indentation, if Python can read it."""
  if len(code) > MOST_CHARACTERS:
    return None
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for text in (code, textwrap.dedent(code)):
      try:
        ast.parse(text)
      except (SyntaxError, ValueError, RecursionError, MemoryError):
        continue
      return text
  return None
