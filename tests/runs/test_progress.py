"""The live line, on terminals of every width and in files."""

import errno
import io

import pytest

from rl_jax.runs.progress import Progress

VALUES = {
  "reward": [0.68, 0.71, 0.74],
  "held_out/sampled_accuracy": [0.80, 0.82, 0.84],
  "response_length": [12.2, 12.4],
  "entropy": [0.41],
}


class Terminal(io.StringIO):
  def isatty(self):
    return True


class Ascii(io.StringIO):
  encoding = "ascii"


def _progress(stream, width=200, num_iterations=400):
  now = [0.0]
  return Progress(num_iterations, stream, clock=lambda: now[0], columns=lambda: width), now


def test_line_by_hand():
  stream = io.StringIO()
  progress, now = _progress(stream)
  now[0] = 500.0  # compiling: does not count
  progress.update(100, VALUES, 48200)
  now[0] += 20 * 72 / 280
  progress.update(120, {}, 48200)
  progress.close()
  line = "reward 0.71 ±0.03 | held-out 0.82 ±0.02 | length 12.3 | entropy 0.41 | 48.2k tokens/s"
  assert stream.getvalue() == f"iteration 100/400 | {line}\niteration 120/400 | {line} | 1m12s left\n"


@pytest.mark.parametrize("width", [*range(1, 130), 200])
def test_never_wider_than_the_terminal(width):
  stream = Terminal()
  progress, now = _progress(stream, width)
  for iteration in (100, 120, 400):
    now[0] += 10
    progress.update(iteration, {**VALUES, "skipped_in_a_row": [1, 0]}, 48200)
  progress.close()
  assert stream.getvalue().endswith("\n") and stream.getvalue().count("\n") == 1
  for drawn in stream.getvalue().rstrip("\n").split("\r"):
    assert len(drawn) <= max(1, width - 1)
  assert "iteration 400/400"[: max(1, width - 1)] in stream.getvalue()


def test_narrow_keeps_what_matters():
  stream = Terminal()
  progress, now = _progress(stream, 60)
  progress.update(100, VALUES, 48200)
  now[0] = 10
  progress.update(120, {}, 48200)
  assert stream.getvalue().split("\r")[-1].rstrip() == "iteration 120/400 | reward 0.71 ±0.03 | 2m20s left"


def test_shorter_line_wipes_the_longer_one():
  stream = Terminal()
  progress, _ = _progress(stream)
  progress.update(1, {"reward": [100.0]})
  progress.update(2, {"reward": [1.0]})
  first, second = stream.getvalue().split("\r")[1:]
  assert len(first) == len(second) and second.rstrip() == "iteration 2/400 | reward 1.00"


def test_message_stands_above_the_line():
  stream = Terminal()
  progress, _ = _progress(stream)
  progress.update(1, {})
  progress.message("saved")
  progress.update(2, {})
  progress.close()
  progress.close()
  wiped = " " * len("iteration 1/400")
  assert stream.getvalue() == f"\riteration 1/400\r{wiped}\rsaved\n\riteration 2/400\n"


def test_skipped_updates_in_a_row_and_nan_are_shown():
  stream = io.StringIO()
  progress, _ = _progress(stream)
  progress.update(1, {"reward": [float("nan")], "skipped_in_a_row": [2, 1]})
  assert stream.getvalue() == "iteration 1/400 | reward NaN | skipped updates 2 in a row\n"


def test_ascii_log():
  stream = Ascii()
  progress, _ = _progress(stream)
  progress.update(1, {"reward": [0.5, 0.5]})
  progress.message("漢")
  assert stream.getvalue() == "iteration 1/400 | reward 0.50 +-0.00\n?\n"


def test_resumed_launch_counts_its_own_iterations():
  stream = io.StringIO()
  progress, now = _progress(stream)
  progress.update(300, {})
  now[0] = 10.0
  progress.update(350, {})
  assert stream.getvalue().endswith("iteration 350/400 | 10s left\n")


def test_time_left_follows_the_share_that_is_done():
  """A budget of tokens ends the run long before its iterations."""
  stream = io.StringIO()
  progress, now = _progress(stream)
  progress.update(0, {}, share=0.0)
  now[0] = 30.0
  progress.update(4, {}, share=0.75)
  now[0] = 40.0
  progress.update(5, {}, share=1.0)
  assert stream.getvalue().endswith("iteration 4/400 | 10s left\niteration 5/400\n")


@pytest.mark.parametrize(("shares", "text"), [
  ([0.0, 0.0], None), ([0.0, 0.25], "unscored 25 %"), ([0.001, 0.0], "unscored 1 %"), ([1.0], "unscored 100 %"),
])  # fmt: skip
def test_finding_6_the_share_of_rows_without_a_verdict_is_shown_where_there_are_any(shares, text):
  stream = io.StringIO()
  progress, _ = _progress(stream)
  progress.update(1, {"reward": [float("nan"), 0.5], "unscored": shares})
  line = stream.getvalue()
  assert "reward NaN" in line and ((text in line) if text else ("unscored" not in line))


class Closed(io.StringIO):
  """What is left of a terminal that was closed, or of a full disk."""

  def __init__(self, number):
    super().__init__()
    self.number = number

  def write(self, text):
    raise OSError(self.number, "")


def test_finding_9_a_closed_terminal_does_not_keep_a_run_from_saving():
  _progress(Closed(errno.EIO))[0].update(1, VALUES)
  with pytest.raises(OSError):
    _progress(Closed(errno.ENOSPC))[0].update(1, VALUES)
