"""Answers as plain text: Unicode becomes ASCII and LaTeX, and decoration is removed.

LaTeX commands are kept: `tokens` reads them whole, so that no clean-up splits one.
"""

from __future__ import annotations

import re
import unicodedata

MOST_CHARACTERS = 8000
"""Length of the longest text that is read as an answer."""

_SCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ", "0123456789+-()ni"
_SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉₊₋ₙᵢ", "0123456789+-ni"
_HALVES = {
  "½": "12", "⅓": "13", "⅔": "23", "¼": "14", "¾": "34", "⅕": "15", "⅖": "25", "⅗": "35", "⅘": "45", "⅙": "16",
  "⅚": "56", "⅐": "17", "⅛": "18", "⅜": "38", "⅝": "58", "⅞": "78", "⅑": "19", "⅒": "110",
}  # fmt: skip
_COMMANDS = {
  "∞": "infty", "·": "cdot", "⋅": "cdot", "∙": "cdot", "×": "times", "✕": "times", "÷": "div", "±": "pm",
  "∓": "mp", "√": "surd", "≤": "le", "≥": "ge", "≠": "ne", "≈": "approx", "∪": "cup", "∩": "cap", "∈": "in",
  "∅": "emptyset", "⌊": "lfloor", "⌋": "rfloor", "⌈": "lceil", "⌉": "rceil", "ℝ": "mathbb{R}", "ℤ": "mathbb{Z}",
  "ℕ": "mathbb{N}", "ℚ": "mathbb{Q}", "ℂ": "mathbb{C}", "∑": "sum", "∏": "prod", "∫": "int", "∂": "partial",
  "ħ": "hbar", "ℏ": "hbar", "…": "dots", "⋯": "dots", "∠": "angle", "→": "to", "∨": "lor", "ℓ": "ell", "⟨": "langle",
  "⟩": "rangle", "⩽": "le", "⩾": "ge", "≡": "equiv", "∖": "setminus", "∇": "nabla", "∣": "mid", "∥": "parallel",
}  # fmt: skip
_GREEK = {
  **dict(zip("αβγδεζηθικλμνξπρστυφχψω", (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi"
    " omega"
  ).split(), strict=True)),
  **dict(zip("ΓΔΘΛΞΠΣΦΨΩ", "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega".split(), strict=True)),
  "ϕ": "phi", "ϵ": "epsilon", "µ": "mu",
}  # fmt: skip
_DASHES = "−–—‐‑‒﹣－"
_BLANKS = "\u00a0\u2007\u2009\u202f\u3000\u2002\u2003\u2005\u2006\u200a"
_INVISIBLE = "\r\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u2061\u2062"

_CHARACTERS = str.maketrans({
  **{c: "-" for c in _DASHES},
  **{c: " " for c in _BLANKS},
  **{c: "" for c in _INVISIBLE},
  **{c: rf" \{name} " for c, name in (_COMMANDS | _GREEK).items()},
  **{c: rf"\frac{{{n[0]}}}{{{n[1:]}}}" for c, n in _HALVES.items()},
  "°": r"^\circ ", "º": r"^\circ ", "′": "'", "″": "''", "’": "'", "‘": "'", "“": '"', "”": '"', "⁄": "/", "∕": "/",
  "∗": "*", "∶": ":", "：": ":", "，": ",", "；": ";", "。": ".",
})  # fmt: skip
_RAISED = re.compile(f"[{_SCRIPTS[0]}]+")
_LOWERED = re.compile(f"[{_SUBSCRIPTS[0]}]+")
_PAIR = re.compile(r"\$\$(?P<display>[^$]+)\$\$|(?<!\\)\$(?P<inline>[^$\s](?:[^$\n]*[^$\s\\])?)\$(?!\d)")
_BOLD = re.compile(r"(?<![\w)\]}])\*\*(?=\S)([^*]+)(?<=\S)\*\*(?![\w(\[{])")
_WRAPS = (("**", "**"), ("__", "__"), ("*", "*"), ("`", "`"), (r"\(", r"\)"), (r"\[", r"\]"), ('"', '"'))


def ascii_latex(text: str) -> str:
  """The text with its Unicode signs as ASCII or LaTeX: dashes, blanks, Greek, fractions, scripts, full width."""
  if text.isascii():
    return text.replace("\r", "") if "\r" in text else text
  raised, lowered = (str.maketrans(*signs) for signs in (_SCRIPTS, _SUBSCRIPTS))
  text = _RAISED.sub(lambda match: f"^{{{match[0].translate(raised)}}}", text)
  text = _LOWERED.sub(lambda match: f"_{{{match[0].translate(lowered)}}}", text)
  return unicodedata.normalize("NFKC", text.translate(_CHARACTERS))


def plain(text: str) -> str:
  r"""The answer in a text that is nothing but an answer, without its dress.

  Taken off: blanks around, full stops at the end, Markdown emphasis, code ticks, quotes, `$…$`, `\(…\)`, `\[…\]`. A
  dollar sign that opens no formula stays, as it may be a price. A text that is too long for an answer stays too.

  >>> plain("**Answer**"), plain(r"\(−½\)."), plain("$5")
  ('Answer', '-\\frac{1}{2}', '$5')
  """
  text = ascii_latex(text).strip()
  if text.isdecimal() or len(text) > MOST_CHARACTERS:
    return text
  if "$" in text:
    text = _PAIR.sub(lambda match: f" {match['display'] or match['inline']} ", text)
  if "**" in text:
    text = _BOLD.sub(r"\1", text)
  before = None
  while text != before:
    before = text
    text = _unwrapped(text.strip().rstrip(",;:"))
    if text.endswith("\\") and not text.endswith("\\\\"):  # of a blank, which was stripped
      text = text[:-1]
    if text.endswith(".") and not text.endswith(("..", r"\right.")):
      text = text[:-1]
  if r"\(" in text or r"\[" in text:
    text = _without_delimiters(text)
  return text


def _unwrapped(text: str) -> str:
  for opening, closing in _WRAPS:
    inner = text[len(opening) : -len(closing)]
    if text.startswith(opening) and text.endswith(closing) and inner and opening not in inner and closing not in inner:
      return inner
  # A mark whose partner was cut away with the words before the answer.
  return text.removeprefix("**").removesuffix("**")


def _without_delimiters(text: str) -> str:
  r"""`\(3\) and \(5\)` without its delimiters; text in which they do not pair stays.

  A row end that a bracket follows, `\\[2pt]`, opens no formula.
  """
  pieces = re.split(r"(\\\\|\\[()\[\]])", text)
  signs = [piece for piece in pieces if re.fullmatch(r"\\[()\[\]]", piece)]
  if signs[::2] and [*zip(signs[::2], signs[1::2], strict=False)] == [
    (sign, {r"\(": r"\)", r"\[": r"\]"}.get(sign)) for sign in signs[::2]
  ]:
    return "".join(" " if piece in signs else piece for piece in pieces).strip()
  return text
