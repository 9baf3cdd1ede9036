"""Panels: curves that say something, named, each drawn once, on sensible axes."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from rl_jax.runs import figures
from rl_jax.runs.curve_section import curve_section
from rl_jax.runs.figures import draw
from rl_jax.runs.formatting import tick
from rl_jax.runs.panels import Curve, Panel, compared_panels, constant_text, is_constant, main_panels, other_panels
from rl_jax.runs.record import Record, collect, over_tokens

ITERATIONS = 5


def record(kind: str = "train", **curves) -> Record:
  """A run with these curves, a number or a list of one per seed at each iteration."""
  lines = [
    {"kind": kind, "iteration": i + 1, **{name.replace("__", "/"): values[i] for name, values in curves.items()}}
    for i in range(ITERATIONS)
  ]
  return Record("x", {}, [], collect(lines), [])


def panel(**curves) -> Panel:
  (found,) = main_panels(record(**curves))
  return found


@pytest.mark.parametrize(
  ("curves", "expected"),
  [
    ({"clip_fraction": [0.0] * 5}, "Clipped ratios 0"),
    ({"kl_to_behaviour": [1e-14, 3e-14, 2e-14, -1e-15, 2e-14]}, "KL(sampler || trainer) 2.00e-14"),
    ({"loss__policy": [1e-8, -1e-8, 0.0, 2e-8, 1e-8]}, "Loss: policy 1.00e-08"),
    ({"truncated": [0.0] * 5, "unscored": [0.001] * 5}, "Rows without a full signal: truncated 0, unscored 0.001"),
    ({"entropy": [math.nan, [1.0, 2.0], math.nan, math.nan, math.nan]}, "Entropy of the policy 1.500 (none in 4 of 5)"),
    ({"entropy": [[1.0, 2.0]] * 5}, "Entropy of the policy 1.500"),
    ({"learning_rate": [3e-4] * 5}, "Learning rate 3.00e-04"),
  ],
)
def test_item_3_a_constant_panel_is_a_number_in_a_line(curves, expected):
  found = panel(**curves)
  assert is_constant(found) and expected in constant_text(found)
  html = curve_section([found], "")
  assert "<svg" not in html and f"Constant, so not drawn: {found.title}" in html


@pytest.mark.parametrize(
  "curves",
  [
    {"clip_fraction": [0.0, 0.0, 0.01, 0.0, 0.0]},
    {"kl_to_reference": [0.0, 1e-4, 2e-4, 3e-4, 4e-4]},
    {"truncated": [0.0] * 5, "zero_spread_rows": [0.1, 0.2, 0.3, 0.4, 0.5]},
    {"entropy": [[1.0, 2.0], [1.0, 2.1], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]},
    {"reward": [math.nan] * 5},
  ],
)
def test_a_panel_of_which_something_can_be_seen_is_drawn(curves):
  assert not is_constant(panel(**curves)) and "<svg" in curve_section([panel(**curves)], "")


def test_item_3_equal_curves_are_drawn_once_and_the_page_says_so():
  rising = [0.1, 0.2, 0.3, 0.4, 0.5]
  found = panel(reward=rising, accuracy=rising)
  assert [curve.label for curve in found.curves] == ["reward = accuracy"]
  assert "Metrics joined by = are equal and drawn once." in curve_section([found], "")
  apart = panel(reward=rising, accuracy=rising[::-1])
  assert [curve.label for curve in apart.curves] == ["reward", "accuracy"]
  assert "drawn once" not in curve_section([apart], "")


def axes_of(found: Panel):
  axes = Figure().add_subplot()
  draw(axes, found)
  return axes


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("kl_to_behaviour", "KL(sampler || trainer)"),
    ("kl_to_reference", "KL(policy || reference)"),
    ("loss__policy", "policy"),
    ("entropy", "Entropy of the policy"),
    ("clip_fraction", "Clipped ratios"),
  ],
)
def test_item_3_every_curve_has_a_name(name, expected):
  axes = axes_of(panel(**{name: [0.1, 0.2, 0.3, 0.4, 0.5]}))
  legend = axes.get_legend()
  names = [axes.get_title()] if legend is None else [text.get_text() for text in legend.get_texts()]
  assert names == [expected]


def test_item_3_the_axis_of_a_share_does_not_go_below_zero():
  low, high = axes_of(panel(clip_fraction=[0.0, 0.001, 0.002, 0.001, 0.0])).get_ylim()
  assert -0.04 * high < low <= 0 and high < 0.0025
  assert axes_of(panel(truncated=[0.0, 0.1, 0.0, 0.0, 0.0])).get_ylim() == (-0.03, 1.03)


def test_seeds_are_not_counted_as_curves_that_need_a_legend_outside():
  figure = Figure()
  draw(figure.add_subplot(), panel(reward=[[0.1, 0.2, 0.3]] * 5, accuracy=[[0.1, 0.2, 0.4]] * 5))
  figures._share_legend(figure)
  assert figure.axes[0].get_legend() is not None and not figure.legends


def test_an_axis_is_logarithmic_over_more_than_a_decade_and_labels_decades():
  near, far = (axes_of(panel(gradient_norm=[1.0, 2.0, 3.0, 4.0, last])) for last in (5.0, 50.0))
  assert (near.get_yscale(), far.get_yscale()) == ("linear", "log")
  far.figure.canvas.draw()
  assert not any(label.get_text() for label in far.get_yticklabels(minor=True))


@pytest.mark.parametrize(
  ("values", "expected"),
  [
    ([0, 8000, 14000], ["0", "8k", "14k"]),
    ([0, 500_000, 1_500_000], ["0", "0.5M", "1.5M"]),
    ([0, 5e-5, 1e-4, 3e-4], ["0", "0.5e-4", "1e-4", "3e-4"]),
    ([0, 2000, 9000], ["0", "2000", "9000"]),
    ([-0.5, 0, 0.5], ["-0.5", "0", "0.5"]),
  ],
)
def test_item_7_all_ticks_of_an_axis_have_one_unit(values, expected):
  assert [tick(value, max(map(abs, values))) for value in values] == expected


def test_item_7_the_axis_of_speed_is_in_one_unit():
  (speed,) = main_panels(record("timings", tokens_per_second=[8e3, 9e3, 14e3, 12e3, 13e3]))
  axes = axes_of(speed)
  axes.figure.canvas.draw()
  labels = [label.get_text() for label in axes.get_yticklabels()]
  assert speed.title == "Speed" and all(re.fullmatch(r"0|-?\d+k", label) for label in labels), labels


def test_item_7_curves_over_generated_tokens():
  tokens = [[100 * i - 10, 100 * i + 10] for i in range(1, 6)]
  made = record(entropy=[1.0, 0.9, 0.8, 0.7, 0.6], generated_tokens=tokens)
  found = over_tokens(made).series["train"]["entropy"]
  np.testing.assert_array_equal(found.iterations, [100, 200, 300, 400, 500])
  np.testing.assert_array_equal(found.values[:, 0], [1.0, 0.9, 0.8, 0.7, 0.6])


def test_item_11_runs_are_compared_by_every_metric_of_the_panels():
  curves = {
    "gradient_norm": [1.0, 2.0, 3.0, 4.0, 5.0], "kl_to_reference": [0.1, 0.2, 0.3, 0.4, 0.5],
    "clip_fraction": [0.1, 0.2, 0.3, 0.4, 0.5], "truncated": [0.1, 0.2, 0.3, 0.4, 0.5],
  }  # fmt: skip
  speed = record("timings", tokens_per_second=[1e3, 2e3, 3e3, 4e3, 5e3])
  left = record(**curves)._replace(series=record(**curves).series | speed.series)
  found = {panel.title: panel for panel in compared_panels({"a": left, "b": speed, "c": left})}
  assert list(found) == [
    "Divergence from the reference: KL(policy || reference)", "Rows without a full signal: truncated", "Clipped ratios",
    "Gradient and update: gradient", "Speed",
  ]  # fmt: skip
  assert [(c.label, c.style) for c in found["Clipped ratios"].curves] == [("a", 0), ("c", 2)], "a run keeps its colour"


def test_metrics_of_a_method_have_panels_of_their_own():
  (found,) = other_panels(record(my_own=[1.0, 2.0, 3.0, 4.0, 5.0]))
  assert (found.title, found.curves) == ("my_own", [Curve("", found.curves[0].series)])
