"""Numbers with a unit: 5 km, 30°, 12%, $5, 3.5 million dollars."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rl_jax.tasks.answers import commands
from rl_jax.tasks.answers.tokens import Token
from rl_jax.tasks.answers.trees import Node, Unreadable, number
from rl_jax.tasks.answers.values import Expression, Number, Quantity

CURRENCIES = "$€£¥₹"
SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
SHORT = frozenset(
  "km cm mm nm kg mg ft lb lbs oz mi hr hrs min sec ms mph kmh kph mL ml kW MW Hz kHz MHz GHz eV keV MeV GeV kJ kPa Pa"
  " atm mol rad deg cal kcal USD dB".split()
)
"""Units that plain text writes after a number as letters."""
SAME = {
  "percent": "%", "dollar": "$", "usd": "$", "degree": "degree", "deg": "degree", "euro": "€", "eur": "€", "pound":
  "£", "kilometer": "km", "kilometre": "km", "meter": "m", "metre": "m", "centimeter": "cm", "centimetre": "cm",
  "millimeter": "mm", "millimetre": "mm", "kilogram": "kg", "gram": "g", "hour": "h", "hr": "h", "minute": "min",
  "second": "s", "sec": "s", "foot": "ft", "feet": "ft", "inche": "in", "inch": "in", "mile": "mi", "liter": "l",
  "litre": "l", "milliliter": "ml", "joule": "j", "newton": "n", "watt": "w", "volt": "v", "lbs": "lb", "hrs": "h",
  "rupee": "₹",
}  # fmt: skip
POWERS = frozenset({"square", "cubic", "sq", "cu", "squared", "cubed", "^"})
_NO_UNIT = frozenset("and or not no to than plus minus over if when for but except remainder mod is are".split())


def has_power(unit: str) -> bool:
  """Return whether a unit has a power of another in it, as km^2. "Square units" names none."""
  words = unit.split()
  return not POWERS.isdisjoint(words) and any(word not in POWERS | {"unit"} and not word.isdigit() for word in words)


def quantity(tokens: Sequence[Token], amount: Callable[[Sequence[Token]], Number | Expression]) -> Quantity | None:
  """The quantity that tokens are; None: they name no unit.

  Args:
    amount: reads the number or formula before the unit.

  Raises: Unreadable: there is a unit, but what is beside it is neither number nor formula.
  """
  sign, rest, currency = [], list(tokens), ""
  if rest and rest[0].is_sign("-", "+"):
    sign, rest = rest[:1], rest[1:]
  if rest and rest[0].is_sign(*CURRENCIES):
    currency, rest = rest[0].text, rest[1:]
  start = next((at for at in range(1, len(rest)) if _starts_unit(rest, at)), len(rest))
  of_angle = any(token.is_command(*commands.FUNCTIONS) for token in rest[:start])  # as in \sin 30^\circ
  if (not currency and start == len(rest)) or (of_angle and rest[start:] and rest[start].is_command("degree")):
    return None
  words = [_word(token) for token in rest[start:]]
  scale = SCALES.get(words[0], 0) if words else 0
  unit = _unit(words[1:] if scale else words)
  if currency and unit not in ("", currency):
    raise Unreadable("two units")
  value = amount([*sign, *rest[:start]])
  if scale:
    value = _scaled(value, scale)
  return Quantity(value, currency or unit)


def _scaled(value: Number | Expression, scale: int) -> Number | Expression:
  if isinstance(value, Number):
    return Number(value.value * scale, value.decimal)
  return Expression(Node("product", (number(scale), value.tree)))


def _starts_unit(tokens: Sequence[Token], at: int) -> bool:
  """Return whether a unit starts at a token, which is not the first one."""
  token, before = tokens[at], tokens[at - 1]
  if before.is_sign("_", "^", "/") or (before.is_sign("{") and token.kind in ("word", "name")):
    return False
  if token.kind == "name" and len(token.text) == 1:  # else a symbol, as the A of 2\mathrm{A} + 1
    return all(map(_may_be_unit, tokens[at:]))
  if token.kind in ("word", "name") or token.is_sign("%", *CURRENCIES) or token.is_command("degree"):
    return True
  if token.kind != "letters" or len(token.text) == 1 or token.text in commands.WORDS:
    return False
  return token.text in SHORT or token.text.casefold() in SAME or (token.spaced and len(token.text) > 2)


def _may_be_unit(token: Token) -> bool:
  return token.kind in ("word", "name", "number") or token.is_sign("^", "/", "*", "-", "{", "}")


def _word(token: Token) -> str:
  """A token of a unit as text, in the singular."""
  if token.kind == "number" or token.is_sign("^", "/", "*", "-", "%", "(", ")", "{", "}", ".", "'", *CURRENCIES):
    return token.text
  if token.is_command("degree"):
    return "degree"
  if token.kind not in ("word", "name", "letters"):
    raise Unreadable(f"{token.text!r} in a unit")
  word = token.text.casefold()
  if word in _NO_UNIT:
    raise Unreadable(f"{word!r} is no unit")
  if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
    word = word[:-1]
  return SAME.get(word, word)


def _unit(words: Sequence[str]) -> str:
  """The words of a unit joined by blanks, without brackets.

  Raises: Unreadable: a number in it is no exponent, as in 5 hours 30 minutes.
  """
  unit_words = [word for word in words if word not in ("{", "}", "(", ")", ".", "'")]
  for at, word in enumerate(unit_words):
    if word[0].isdigit() and unit_words[at - 1] not in ("^", "-"):
      raise Unreadable("two numbers with units")
  return " ".join(unit_words)
