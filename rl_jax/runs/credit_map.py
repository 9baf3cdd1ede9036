"""Credit of each token: sampled responses as coloured tokens, for a page.

Colour is the advantage on a scale from blue (pushed up) over none to orange (pushed down). The sign is told apart
without colour too: a solid line under tokens that are pushed up, a dotted one under those that are pushed down, and the
number below each token of a short response (on all tokens when the pointer rests there).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rl_jax.runs.page import escape
from rl_jax.runs.samples import printable

NUMBERED_TOKENS = 64
"""Longest response with a number below each token."""
LONGEST = 600
"""Tokens shown of a response."""


def has_credit(sample: Mapping[str, Any]) -> bool:
  """Return whether a sample holds the credit of each token."""
  return bool(sample.get("tokens")) and len(sample["tokens"]) == len(sample.get("credit", ()))


def strongest(samples: Sequence[Mapping[str, Any]]) -> float:
  """The largest finite |advantage| of the samples, which the scale ends with; 0 if there is none."""
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
  """The ends of the scale, as tokens of their own."""
  ends = "".join(_token(word, value, scale, True) for word, value in (("up", scale), ("none", 0.0), ("down", -scale)))
  return f'<div class="tokens">{ends}</div>'


def _token(text: str, value: float, scale: float, numbered: bool) -> str:
  kind = "plus" if value > 0 else "minus" if value < 0 else ""
  weight = min(1.0, abs(value) / scale) if scale and math.isfinite(value) else 0.0
  number = f"{value:+.2g}" if value else "0"
  below = f"<sub>{number}</sub>" if numbered else ""
  label = escape(printable(text)) or "∅"
  return f'<span class="token {kind}" style="--w:{weight:.2f}" title="{number}">{label}{below}</span>'
