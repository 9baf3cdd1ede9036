"""Credit of each token: sampled responses with tokens coloured by advantage, for a page.

The scale goes from blue (pushed up) through no colour to orange (pushed down). The sign is visible without colour too:
tokens pushed up have a solid underline, tokens pushed down a dotted one. Short responses have the number below each
token; on any token, hovering shows it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rl_jax.runs.page import escape
from rl_jax.runs.samples import printable

NUMBERED_TOKENS = 64
"""Number of tokens of the longest response with a number below each token."""
LONGEST = 600
"""Largest number of shown tokens of a response."""


def has_credit(sample: Mapping[str, Any]) -> bool:
  """Return whether a sample has an advantage per token."""
  return bool(sample.get("tokens")) and len(sample["tokens"]) == len(sample.get("credit", ()))


def strongest(samples: Sequence[Mapping[str, Any]]) -> float:
  """Largest finite |advantage| of the samples, the end of the scale; 0 if there is none."""
  values = [abs(value) for sample in samples if has_credit(sample) for value in sample["credit"]]
  return max(filter(math.isfinite, values), default=0.0)


def tokens(sample: Mapping[str, Any], scale: float) -> str:
  """The response of one sample as HTML.

  Args:
    scale: |advantage| of full colour.
  """
  pairs = list(zip(sample["tokens"], sample["credit"], strict=True))
  numbered = len(pairs) <= NUMBERED_TOKENS
  spans = [_token(text, value, scale, numbered) for text, value in pairs[:LONGEST]]
  rest = len(pairs) - LONGEST
  more = f'<span class="note"> … {rest} more tokens</span>' if rest > 0 else ""
  return f'<div class="tokens">{"".join(spans)}{more}</div>'


def legend(scale: float) -> str:
  """Legend: the ends of the scale as two tokens."""
  ends = "".join(_token(word, value, scale, True) for word, value in (("up", scale), ("none", 0.0), ("down", -scale)))
  return f'<div class="tokens">{ends}</div>'


def _token(text: str, value: float, scale: float, numbered: bool) -> str:
  kind = "plus" if value > 0 else "minus" if value < 0 else ""
  weight = min(1.0, abs(value) / scale) if scale and math.isfinite(value) else 0.0
  number = f"{value:+.2g}" if value else "0"
  below = f"<sub>{number}</sub>" if numbered else ""
  label = escape(printable(text)) or "∅"
  return f'<span class="token {kind}" style="--w:{weight:.2f}" title="{number}">{label}{below}</span>'
