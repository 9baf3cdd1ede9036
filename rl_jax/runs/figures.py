"""Figures of curves over iterations: thin lines for seeds, a thick line for the mean, a band for the spread.

Colours are Okabe and Ito's; curves also differ in their dashes. matplotlib is imported when a figure is drawn.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_jax.runs.formatting import tick
from rl_jax.runs.panels import Panel
from rl_jax.runs.record import Series
from rl_jax.runs.visible import visible

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.axis import Axis
  from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (8, 2.5)))
FEW = 5
"""Largest number of curves with a legend inside the panel."""
TITLE_WIDTH = 34
"""Largest number of characters in a one-line heading above a panel."""
MAX_POINTS = 400
"""Largest number of points; longer curves are drawn as means of successive points, to keep pages small."""

_INK = "#1b1f24"
_GRID = "#8a9199"
_STYLE: dict[str, Any] = {
  "font.family": "sans-serif",
  "font.size": 10,
  "axes.titlesize": 11.5,
  "axes.titleweight": "bold",
  "axes.titlelocation": "left",
  "axes.labelsize": 10,
  "axes.edgecolor": _GRID,
  "axes.labelcolor": _INK,
  "text.color": _INK,
  "xtick.color": _INK,
  "ytick.color": _INK,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.grid": True,
  "grid.color": _GRID,
  "grid.alpha": 0.25,
  "grid.linewidth": 0.7,
  "legend.frameon": False,
  "legend.fontsize": 9.5,
  "axes.formatter.useoffset": False,
  "axes.formatter.limits": (-3, 5),
  "svg.fonttype": "none",
  "svg.hashsalt": "rl_jax",
}


def png(panels: Sequence[Panel], title: str) -> bytes:
  """All panels in one picture on white, two or three to a row."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure
  from matplotlib.style import context

  columns = 1 if len(panels) == 1 else 2 if len(panels) <= 4 else 3
  rows = max(1, -(-len(panels) // columns))
  with context(["default", _STYLE]):
    figure = Figure(figsize=(4.6 * columns, 3.1 * rows + 0.5), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(_literal(title), fontsize=13, x=0.01, ha="left")
    if not panels:
      figure.text(0.5, 0.45, "no metrics yet", ha="center", fontsize=12)
    for index, panel in enumerate(panels):
      draw(figure.add_subplot(rows, columns, index + 1), panel)
    _share_legend(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
  return buffer.getvalue()


def svg(panel: Panel) -> str:
  """One panel as an <svg> element for an HTML page: transparent, ink in `currentColor`, curves in `var(--c0)`…

  The same data gives the same text.
  """
  from matplotlib.backends.backend_svg import FigureCanvasSVG
  from matplotlib.figure import Figure
  from matplotlib.style import context

  with context(["default", _STYLE]):
    figure = Figure(figsize=(3.9, 2.75), layout="constrained")  # small, so that letters are large on the page
    FigureCanvasSVG(figure)
    draw(figure.add_subplot(), panel)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
  text = buffer.getvalue()
  text = text[text.index("<svg") :]
  text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
  text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)  # not needed in HTML, and the page must not contain addresses
  text = re.sub(r'^<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 role="img">', text)
  # The default style would turn text black where matplotlib sets no colour.
  text = text.replace("font: ", "fill: currentColor; font: ")
  text = text.replace(_INK, "currentColor").replace(_GRID, "var(--grid)")
  for index, colour in enumerate(COLOURS):
    text = text.replace(colour, f"var(--c{index})")
  return text


def draw(axes: Axes, panel: Panel) -> None:
  """Draw a panel on a pair of matplotlib axes."""
  from matplotlib.ticker import MaxNLocator, NullFormatter

  for place, curve in enumerate(curve for curve in panel.curves if not curve.in_ink):
    index = place if curve.style is None else curve.style
    # Beyond five curves colours repeat, with other dashes.
    colour, dash = COLOURS[index % len(COLOURS)], DASHES[(index + index // len(COLOURS)) % len(DASHES)]
    _draw_curve(axes, curve.series, curve.label, colour, dash, panel.seeds)
  for place, bound in enumerate(curve for curve in panel.curves if curve.in_ink):
    index = place if bound.style is None else bound.style
    _draw_curve(axes, bound.series, bound.label, _INK, DASHES[index % len(DASHES)], panel.seeds)
  axes.set_title(textwrap.fill(_literal(panel.title), TITLE_WIDTH))
  axes.set_xlabel(_literal(panel.across))
  axes.set_ylabel(_literal(panel.unit))
  axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
  axes.set_xlim(left=0)  # panels of one run share their axis, whenever a metric was first written
  _format_ticks(axes.xaxis)
  values = np.concatenate([curve.series.values.ravel() for curve in panel.curves])
  values = values[np.isfinite(values)]
  if panel.scale == "unit" and (not values.size or (values.min() >= 0 and values.max() <= 1)):
    axes.set_ylim(-0.03, 1.03)
  if panel.scale == "zero" and values.size and 0 <= values.min() < values.max():
    axes.set_ylim(-0.03 * values.max(), 1.08 * values.max())
  if panel.scale == "log" and values.size and values.min() > 0 and values.max() / values.min() > 10:
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(NullFormatter())
  else:
    _format_ticks(axes.yaxis)
  if not values.size:
    axes.text(0.5, 0.5, "no finite values", ha="center", va="center", transform=axes.transAxes)
  if any(curve.label for curve in panel.curves):
    axes.legend(loc="best", handlelength=2.6, labelspacing=0.25, borderaxespad=0.2)


def _share_legend(figure: Figure) -> None:
  """One legend beside all panels that share many curves, since one in each panel would hide them."""
  legends = [axes.get_legend_handles_labels() for axes in figure.axes]
  handles, labels = max(legends, key=lambda legend: len(legend[1]), default=([], []))
  if len(labels) <= FEW:
    return
  for axes in figure.axes:
    legend = axes.get_legend()
    if legend is not None and set(axes.get_legend_handles_labels()[1]) <= set(labels):
      legend.remove()
  figure.legend(handles, labels, loc="outside right upper", handlelength=2.6)


def thinned(series: Series, limit: int = MAX_POINTS) -> Series:
  """`series` as means of at most `limit` groups of successive points, all of equal size except the last."""
  size = -(-len(series.iterations) // limit)
  if size <= 1:
    return series
  starts = np.arange(0, len(series.iterations), size)
  counts = np.diff(np.append(starts, len(series.iterations)))
  iterations = np.add.reduceat(series.iterations, starts) // counts
  return Series(iterations, np.add.reduceat(series.values, starts, axis=0) / counts[:, None])


def _draw_curve(axes: Axes, series: Series, label: str, colour: str, dash: Any, seed_style: str) -> None:
  x, values = thinned(series)
  values = np.where(np.isfinite(values), values, np.nan)
  seeds = values.shape[1]
  marker = "o" if len(x) == 1 else None
  centre = values.mean(axis=1)
  if seeds > 1 and seed_style != "hidden":
    for seed in range(seeds if seed_style == "lines" else 0):
      axes.plot(x, values[:, seed], color=colour, linewidth=0.7, alpha=0.4, marker=marker, markersize=3)
    spread = values.std(axis=1, ddof=1)
    axes.fill_between(x, centre - spread, centre + spread, color=colour, alpha=0.16, linewidth=0)
  axes.plot(x, centre, color=colour, linewidth=1.9, linestyle=dash, label=_literal(label), marker=marker, markersize=5)


def _format_ticks(axis: Axis) -> None:
  """Write all ticks of an axis in the unit of the largest."""
  axis.set_major_formatter(lambda value, _: tick(value, max(map(abs, axis.get_view_interval()))))


def _literal(text: str) -> str:
  """`text` as one line, without mathematics for matplotlib and without a leading underscore, which legends hide."""
  text = visible(text, keep="").replace("$", r"\$")
  return f" {text}" if text.startswith("_") else text
