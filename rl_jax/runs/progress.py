"""Progress line of a run.

iteration 120/400 | reward 0.71 ±0.03 | held-out 0.82 ±0.02 | length 12.3 | entropy 0.41 | 48.2k tokens/s | 1m12s left
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

import numpy as np

from rl_jax.runs.formatting import duration, mean_and_spread, rate
from rl_jax.runs.metric_names import ACCURACY, REWARD
from rl_jax.runs.statistics import mean
from rl_jax.runs.visible import encodable, visible

_FIELDS = (
  # metric, label, digits, with spread
  (REWARD, "reward", 2, True),
  (ACCURACY, "held-out", 2, True),
  ("response_length", "length", 1, False),
  ("entropy", "entropy", 2, False),
)
_DROPPED_FIRST = ("speed", "entropy", "response_length", "skipped", ACCURACY, "left", "unscored", REWARD)
"""Columns dropped on a narrow terminal, in this order."""


class Progress:
  """One line redrawn in place on a terminal, or one plain line per update in a file or a pipe.

  Args:
    num_iterations: last iteration of the run.
    stream: output stream.
    clock: seconds, replaceable in tests.
    columns: width of the terminal, read at each update, replaceable in tests.
  """

  def __init__(
    self,
    num_iterations: int,
    stream: TextIO,
    *,
    clock: Callable[[], float] = time.monotonic,
    columns: Callable[[], int] = lambda: shutil.get_terminal_size().columns,
  ) -> None:
    self._num_iterations = num_iterations
    self._stream = stream
    self._clock = clock
    self._columns = columns
    self._live = stream.isatty()
    self._encoding = getattr(stream, "encoding", None)
    self._values: dict[str, Sequence[float] | np.ndarray] = {}
    self._first: tuple[float, float] | None = None
    self._drawn = 0

  def update(
    self,
    iteration: int,
    values: Mapping[str, Sequence[float] | np.ndarray],
    tokens_per_second: float | None = None,
    share: float | None = None,
  ) -> None:
    """Show the state after `iteration` iterations. Missing metrics keep their last value.

    Args:
      iteration: iterations done, over all launches.
      values: one number per seed. Shown are reward, held_out/sampled_accuracy, response_length and entropy; also, for
        the worst seed and unless 0, skipped_in_a_row and the share `unscored` of rows without a verdict.
      tokens_per_second: speed of this stretch.
      share: completed fraction of the run, from 0 to 1, if something other than iterations may end it.
    """
    self._values.update(values)
    now = self._clock()
    parts = {"iteration": f"iteration {iteration}/{self._num_iterations}"}
    for name, label, digits, with_spread in _FIELDS:
      if self._values.get(name) is not None and len(self._values[name]):
        seeds = [float(value) for value in self._values[name]]
        parts[name] = f"{label} {mean_and_spread(seeds if with_spread else [mean(seeds)], digits)}"
    skipped = max((int(value) for value in self._values.get("skipped_in_a_row", ())), default=0)
    if skipped > 0:
      parts["skipped"] = f"skipped updates {skipped} in a row"
    unscored = max((float(value) for value in self._values.get("unscored", ())), default=0.0)
    if unscored > 0:
      parts["unscored"] = f"unscored {max(1, round(100 * unscored))} %"
    if tokens_per_second is not None:
      parts["speed"] = f"{rate(tokens_per_second)} tokens/s"
    left = self._seconds_left(iteration / self._num_iterations if share is None else share, now)
    if left is not None:
      parts["left"] = f"{duration(left)} left"
    self._draw(parts)

  def start_over(self) -> None:
    """Measure the time left from the next update on, since earlier updates do not show the speed."""
    self._first = None

  def message(self, text: str) -> None:
    """Print a permanent line (a note, samples) above the progress line."""
    self._clear()
    self._write(visible(text) + "\n")

  def close(self) -> None:
    """End the progress line, so that the shell's prompt starts a new one. May be called again."""
    if self._live and self._drawn:
      self._write("\n")
    self._drawn = 0

  def _seconds_left(self, share: float, now: float) -> float | None:
    """Seconds left, by this launch's speed since its first update, as it was compiling before."""
    if share >= 1:
      return None
    if self._first is None:
      self._first = (share, now)
      return None
    first_share, first_time = self._first
    if share <= first_share or now <= first_time:
      return None
    return (now - first_time) / (share - first_share) * (1 - share)

  def _draw(self, parts: dict[str, str]) -> None:
    parts = {name: self._encodable(part) for name, part in parts.items()}
    if not self._live:
      self._write(" | ".join(parts.values()) + "\n")
      return
    # The last column stays empty: some terminals wrap a full line at once.
    width = max(1, self._columns() - 1)
    dropped = iter(_DROPPED_FIRST)
    while len(" | ".join(parts.values())) > width and len(parts) > 1:
      parts.pop(next(dropped), None)
    text = " | ".join(parts.values())[:width]
    self._write("\r" + text + " " * (min(self._drawn, width) - len(text)))
    self._drawn = len(text)

  def _clear(self) -> None:
    if self._live and self._drawn:
      self._write("\r" + " " * min(self._drawn, max(1, self._columns() - 1)) + "\r")
      self._drawn = 0

  def _encodable(self, text: str) -> str:
    """Text with the characters that the log's encoding lacks replaced, as an ASCII-only log must not end the run."""
    return encodable(text, self._encoding, "replace")

  def _write(self, text: str) -> None:
    try:
      self._stream.write(self._encodable(text))
      self._stream.flush()
    except OSError as error:
      if error.errno != errno.EIO:  # the terminal is closed: the run must still save
        raise
