"""Precautions around the scorers of reasoning-gym, which trust the scored answer. Imports no JAX.

Each table names the data sets whose scorer needs a precaution, and holds one line for each.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Entry = Mapping[str, Any]
DEEPEST = 32
"""Deepest nesting of brackets in an answer that is read as a Python literal."""
MOST_COMPARISONS = 2**20
"""Largest product of the lengths of answer and reference, for scorers that compare all pairs of characters."""


def literal(text: str) -> list[Any] | tuple[Any, ...] | str:
  """List, tuple or text of a Python literal.

  Raises: ValueError, SyntaxError: it is none, it is nested too deeply, or it holds more than text and numbers.
  """
  if _depth(text) > DEEPEST:
    raise ValueError(f"more than {DEEPEST} brackets within one another")
  value = ast.literal_eval(text)
  if not isinstance(value, list | tuple | str) or not _is_plain(value):
    raise ValueError("not a list of text and numbers")
  return value


def _depth(text: str) -> int:
  """Brackets within one another; those in quotes count too."""
  return max(itertools.accumulate((c in "([{") - (c in ")]}") for c in text), default=0)


def _is_plain(value: Any) -> bool:
  if isinstance(value, list | tuple):
    return all(map(_is_plain, value))
  return isinstance(value, str | int | float)


EVALUATORS: Mapping[str, Mapping[str, Callable[[str], Any]]] = {
  "binary_matrix": {"eval": literal},
  "n_queens": {"eval": literal},
  "number_sorting": {"eval": literal},
  "spiral_matrix": {"eval": literal},
  "string_insertion": {"eval": literal},
}
"""Data set -> global names of its `score_answer` that run text as code, and their replacements."""

_SIGNS = re.compile(r"[A-Z∧∨¬→↔()\s]{1,500}")
_CONNECTIVES = str.maketrans({"∧": "&", "∨": "|", "¬": "~", "→": ">>", "↔": "^"})
_PROPOSITION = (
  ast.Expression, ast.BinOp, ast.UnaryOp, ast.Name, ast.Load, ast.Invert, ast.BitAnd, ast.BitOr, ast.BitXor, ast.RShift,
)  # fmt: skip


def _is_proposition(answer: str, entry: Entry) -> bool:
  """Return whether the answer is a proposition about the problem's variables.

  Any text between two connectives is a variable to the scorer, which tries all values of all variables.
  """
  if not _SIGNS.fullmatch(answer):
    return False
  nodes = list(ast.walk(ast.parse(answer.translate(_CONNECTIVES).strip(), mode="eval")))
  names = {node.id for node in nodes if isinstance(node, ast.Name)}
  return names <= set(entry["metadata"]["variables"]) and all(isinstance(node, _PROPOSITION) for node in nodes)


def _is_comparable(answer: str, entry: Entry) -> bool:
  """Return whether two trees of JSON are the same, or small enough to be compared label by label."""
  if len(answer) * len(entry["answer"]) > MOST_COMPARISONS:
    return json.loads(answer) == json.loads(entry["answer"])
  return _depth(answer) <= _depth(entry["answer"]) + 4


ENDS_SOON: Mapping[str, Callable[[str, Entry], bool]] = {
  "boxnet": lambda answer, entry: len(answer) <= 2**13,  # a search for "move(…, …)" in quadratic time
  "codeio": _is_comparable,
  "propositional_logic": _is_proposition,
  "quantum_lock": lambda answer, entry: len(answer) <= 2**12,  # each letter may double a number
  "rubiks_cube": lambda answer, entry: len(answer) <= 2**11 and not re.search(r"\d\d", answer),  # "U999999999"
  "rush_hour": lambda answer, entry: not re.search(r"\d\d\d", answer),  # shifts a number by as many bits
}
"""Data set -> whether its scorer ends soon on an answer. One on which it does not is wrong."""


def _read(pattern: str) -> Callable[[str, Entry], float]:
  """The share of an answer's characters that a pattern matches."""
  compiled = re.compile(pattern)
  return lambda answer, entry: sum(len(match.group()) for match in compiled.finditer(answer)) / len(answer)


def _as_long(answer: str, entry: Entry) -> float:
  """Length of the reference in that of the answer, at most 1; blanks do not count."""
  lengths = [len("".join(text.split())) for text in (answer, entry["answer"])]
  return min(1.0, lengths[1] / lengths[0])


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def _one_number(answer: str, entry: Entry) -> float:
  return 1.0 if len(set(map(float, _NUMBER.findall(answer)))) <= 1 else _as_long(answer, entry)


def _same_words(answer: str, entry: Entry) -> float:
  words = {"a", "an", "and", "is", "the", *re.findall(r"\w+", entry["answer"].casefold())}
  return 1.0 if words.issuperset(re.findall(r"\w+", answer.casefold())) else _as_long(answer, entry)


def _as_strong(answer: str, entry: Entry) -> float:
  """Assignments that a conclusion rules out, relative to those of the reference, at most 1.

  To the scorer "P ∨ Q ∨ R" is as right as any other conclusion, and nearly always one.
  """
  from reasoning_gym.logic.propositional_logic import Expression

  variables = sorted(entry["metadata"]["variables"])
  assignments = [dict(zip(variables, v, strict=True)) for v in itertools.product((False, True), repeat=len(variables))]
  conclusions = map(Expression.from_string, (answer, entry["metadata"]["example_answer"]))
  ruled_out = [sum(not conclusion.evaluate(a) for a in assignments) for conclusion in conclusions]
  return min(1.0, ruled_out[0] / max(1, ruled_out[1]))


SHARES: Mapping[str, Callable[[str, Entry], float]] = {
  "advanced_geometry": _read(r"\A[^,]*(?:,[^,]*)?"),
  "figlet_font": _as_long,
  "fraction_simplification": _read(r"\A[$\s]*(?:\\d?frac\s*{\s*\d+\s*}\s*{\s*\d+\s*}|[-+]?\d+\s*/\s*[-+]?\d+)[$\s]*"),
  "gsm_symbolic": _one_number,
  "kakurasu": _read(r"[01\s,\[\]]+"),
  "knights_knaves": _same_words,
  "letter_jumble": _as_long,
  "polynomial_equations": _read(r'\A""\Z|(?:\A|(?<=,))\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*(?:,|\Z)'),
  "pool_matrix": _read(r"(?m)^[^#\n]*$|\n"),
  "propositional_logic": _as_strong,
  "quantum_lock": _read(r"[A-Ca-c\s,>→\[\]-]+"),
  "rubiks_cube": _read(r"(?<!\S)[A-Za-z]+'?\d?(?!\S)|\s+"),
  "rush_hour": _read(r"[A-Z][+-]\d+|[\s,]+"),
  "sokoban": _read(r"[LRUD\s,]+"),
  "spell_backward": _as_long,
  "survo": _read(r"(?<!\S)-?\d+(?!\S)|\s+"),
  "time_intervals": _read(r"\A\s*-?\d+(?:\s*days?(?:\s*,\s*\d+(?::\d+){1,2})?|(?::\d+){1,2}(?:\.\d+)?)?\s*"),
  "word_sorting": _as_long,
}
"""Data set -> the factor of a reward where the scorer passes over a part of the answer, and so over a second answer.

The factor is the share of the answer that the scorer reads, or the reference's length in the answer's: the rule of
reasoning-gym itself for an answer that holds the reference and more. That of a conclusion is its strength.
"""
