"""Section of curves on a page: changing metrics as figures, constant ones as numbers."""

from __future__ import annotations

from collections.abc import Sequence

from rl_jax.runs import page
from rl_jax.runs.figures import svg
from rl_jax.runs.panels import Panel, constant_text, is_constant

EQUAL = " = "
"""Separator of the names of metrics whose curves are equal."""


def curve_section(panels: Sequence[Panel], note: str) -> str:
  """Section as HTML; `note` explains lines and bands."""
  drawn = [panel for panel in panels if not is_constant(panel)]
  constant = [constant_text(panel) for panel in panels if is_constant(panel)]
  if any(EQUAL in panel.title or any(EQUAL in curve.label for curve in panel.curves) for panel in drawn):
    note += " Metrics joined by = are equal and drawn once."
  content = page.figures([(panel.title, svg(panel)) for panel in drawn]) if drawn else ""
  if constant:
    content += f'<p class="note">Constant, so not drawn: {page.escape(" · ".join(constant))}.</p>'
  return page.section("Curves", content, note=note)
