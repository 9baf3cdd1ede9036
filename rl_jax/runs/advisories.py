"""Advisories: likely faults of a run in words, found by rules with named thresholds on training metrics.

A rule compares a window of the latest iterations with a threshold or with a window of the first ones, seed by seed. It
says nothing if its metric is missing or the run is too short. An advisory is a reason to look, not a verdict. The
thresholds are this project's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rl_jax.runs.formatting import number
from rl_jax.runs.metric_names import TOKENS
from rl_jax.runs.record import Record
from rl_jax.runs.statistics import mean

WINDOW = 20
"""Number of iterations in a window, or half of the run's if it has fewer than 40: single iterations are noisy."""
FEWEST = 5
"""Number of iterations in the shortest window. Warm-up and the first rollouts of a new policy take about as many."""
DEAD_GROUPS = 0.8
"""Share of scored rows in groups of equal reward: four fifths of the sampling is spent on rows without a gradient."""
HARD, EASY = 0.2, 0.8
"""Accuracies below and above which most dead groups belong to prompts that are never, or always, solved."""
DRIFT = 1e-2
"""Nats per token between sampler and trainer. k3 is about x^2 / 2 for a log ratio x, so x is about 0.14 at this bound:
most of the usual clip range of 0.2, before the first update."""
CLIPPED = 0.2
"""Share of trained tokens with a clipped ratio; usual values are a hundred times smaller."""
LENGTH_KEPT = 1 / 3
"""Share of the first responses' length. Training for brevity rarely shortens responses further; degeneration does."""
ENTROPY_KEPT = 0.1
"""Share of the first entropy. By R = b - a exp(H) (arXiv 2505.22617), hardly any reward is left to gain below it."""
SOLVED = 0.95
"""Accuracy above which low entropy is the goal rather than a loss of exploration."""
UNSCORED = 0.05
"""Share of rows without a verdict: a verifier that fails on some kind of answer biases the training data."""
TRUNCATED = 0.5
"""Share of responses cut by the limit: most rewards are then of unfinished answers."""
SKIPPED = 0.1
"""Share of updates that were not finite. One is an accident; a tenth points to the learning rate or the dtype."""

FAILURES = {"part/timed_out": "timed out", "part/crashed": "crashed", "part/error": "raised an error"}
"""Metrics of a failing verifier, and the failures in words."""


class Advisory(NamedTuple):
  """A likely fault, with a reason to look."""

  name: str
  text: str


class _Windows(NamedTuple):
  """Means of one metric over the first and the last window, [S] each. NaN if a seed has no number in a window."""

  first: np.ndarray
  last: np.ndarray
  size: int


class _Marked(NamedTuple):
  """The windows of a metric, as means over the seeds that a rule marks."""

  first: float
  last: float
  size: int

  @property
  def share(self) -> str:
    """The last window as a percentage."""
    return _percent(self.last)

  @property
  def lately(self) -> str:
    """The last window in words."""
    return f"in the last {self.size} iterations"

  @property
  def change(self) -> str:
    """Both windows in words."""
    return f"from {number(self.first)} to {number(self.last)}"


def advisories(record: Record) -> list[Advisory]:
  """Advisories about a run, most serious first; empty if there are none, or too few iterations.

  Args:
    record: a finished or unfinished run; its "train" series and its config's `completions_per_prompt` are read.
  """
  sampled = record.series.get("train", {}).get(TOKENS)
  supervised = sampled is not None and not sampled.values.any()  # entropy should fall, and groups have no baseline
  found = (rule(record) for rule in ((_skipped,) if supervised else _RULES))
  return [advisory for advisory in found if advisory is not None]


def is_judged(record: Record) -> bool:
  """Return whether a run is long enough for advisories."""
  return any(len(series.iterations) >= FEWEST for series in record.series.get("train", {}).values())


def _never_called(record: Record) -> Advisory | None:
  unscored = _all(record, "unscored")
  if unscored is None or not (unscored == 1).all():
    return None
  if failures := _failures(record):
    text = f"No response has had a verdict: the verifier {failures}. See the reasons in the terminal output."
    return Advisory("Verifier fails", text)
  text = "No response has had a verdict: the verifier was never called, or never answered. "
  return Advisory("Verifier never called", text + "This is intended only if the method needs no reward.")


def _never_pays(record: Record) -> Advisory | None:
  accuracy, reward = _all(record, "accuracy"), _all(record, "reward")
  if accuracy is None or reward is None or np.isnan(reward).all():
    return None
  only = float(np.nanmax(reward))
  if np.nanmax(accuracy) > 0 or np.nanmin(reward) < only:
    return None
  text = f"All scored responses of {len(reward)} iterations have the reward {number(only)}. Read samples: the verifier "
  text += "may not find the answer in them. If it does, the task is too hard to start from."
  return Advisory("Verifier never pays", text)


def _unscored(record: Record) -> Advisory | None:
  every, failures = _all(record, "unscored"), _failures(record)
  if every is not None and (every == 1).all():
    return None  # reported by the first rule
  reason = "This is intended if the method trains on unfinished responses; otherwise the verifier has failed."
  if failures:
    reason = f"The verifier {failures}: see the reasons in the terminal output."
  return _above(record, "unscored", UNSCORED, "Unscored rows", lambda seen: (
    f"{seen.share} of the rows {seen.lately} have no verdict. {reason}"
  ))  # fmt: skip


def _skipped(record: Record) -> Advisory | None:
  return _above(record, "skipped_updates", SKIPPED, "Skipped updates", lambda seen: (
    f"{seen.share} of the updates {seen.lately} were skipped, as a loss, a gradient or a parameter was not finite. "
    "Lower the learning rate, or use a wider dtype."
  ))  # fmt: skip


def _dead_groups(record: Record) -> Advisory | None:
  if record.config.get("completions_per_prompt") == 1:
    return None  # a group of one always has equal rewards; its method uses another baseline
  windows, accuracy = _windows(record, "zero_spread_rows"), _windows(record, "accuracy")
  if windows is None or _never_pays(record) is not None:
    return None  # reported by the second rule
  dead, reason = windows.last > DEAD_GROUPS, "Prompts are always or never solved"
  if accuracy is not None and dead.any():
    share = mean(accuracy.last[dead].tolist())
    reason = (
      "The prompts are too easy by now" if share > EASY else "The prompts are too hard" if share < HARD else reason
    )
    reason += f" (accuracy {number(share)})"
  return _advisory(windows, dead, "Dead groups", lambda seen: (
    f"{seen.share} of the scored rows {seen.lately} are in groups of equal reward, which get no gradient with a group "
    f"baseline. {reason}: filter them, or choose prompts by difficulty."
  ))  # fmt: skip


def _ratio_drift(record: Record) -> Advisory | None:
  return _above(record, "kl_to_behaviour", DRIFT, "Ratio drift", lambda seen: (
    f"Sampler and trainer differ by {number(seen.last)} nats per token {seen.lately}, before the first update (at "
    f"first {number(seen.first)}): samples are stale, or the sampler uses another dtype or other settings. Correct by "
    "importance weights, or sample from the trained policy."
  ))  # fmt: skip


def _clipped(record: Record) -> Advisory | None:
  return _above(record, "clip_fraction", CLIPPED, "Clipped ratios", lambda seen: (
    f"{seen.share} of the trained tokens {seen.lately} are clipped and get no gradient: use fewer epochs or "
    "minibatches, or a lower learning rate."
  ))  # fmt: skip


def _length_collapse(record: Record) -> Advisory | None:
  reward = _windows(record, "reward")
  rewards = ""
  if reward is not None and np.isfinite(reward.first).any() and np.isfinite(reward.last).any():
    over = _Marked(float(np.nanmean(reward.first)), float(np.nanmean(reward.last)), reward.size)
    rewards = f", while the reward went {over.change}"
  return _below(record, "response_length", LENGTH_KEPT, "Length collapse", lambda seen: (
    f"Responses went {seen.change} tokens{rewards}. Read samples: do the answers still show their reasoning?"
  ))  # fmt: skip


def _entropy_collapse(record: Record) -> Advisory | None:
  accuracy = _windows(record, "accuracy")
  solved = False if accuracy is None else accuracy.last > SOLVED
  return _below(record, "entropy", ENTROPY_KEPT, "Entropy collapse", unless=solved, text=lambda seen: (
    f"The policy's entropy went {seen.change} nats per token: it hardly tries anything new. A higher clip bound, a "
    "divergence from the reference or a lower learning rate preserves more of it."
  ))  # fmt: skip


def _truncated(record: Record) -> Advisory | None:
  return _above(record, "truncated", TRUNCATED, "Truncated responses", lambda seen: (
    f"{seen.share} of the responses {seen.lately} are cut by the limit, and judged unfinished. Raise the limit, or "
    "look for loops in the samples."
  ))  # fmt: skip


_RULES: tuple[Callable[[Record], Advisory | None], ...] = (
  _never_called, _never_pays, _unscored, _skipped, _dead_groups, _ratio_drift, _clipped, _length_collapse,
  _entropy_collapse, _truncated,
)  # fmt: skip
SUBJECTS = (
  "a verifier that is never called or never pays", "unscored rows", "skipped updates", "dead groups", "ratio drift",
  "clipped ratios", "length collapse", "entropy collapse", "truncated responses",
)  # fmt: skip
"""Subjects of the rules, for a page without advisories."""


def _above(record: Record, metric: str, bound: float, name: str, text: Callable[[_Marked], str]) -> Advisory | None:
  """Advisory on the seeds whose last window is above a bound."""
  windows = _windows(record, metric)
  return None if windows is None else _advisory(windows, windows.last > bound, name, text)


def _below(
  record: Record,
  metric: str,
  share: float,
  name: str,
  text: Callable[[_Marked], str],
  unless: np.ndarray | bool = False,
) -> Advisory | None:
  """Advisory on the seeds whose last window is below a share of the first, in runs of at least two full windows.

  Args:
    unless: mask [S] of seeds that are left out.
  """
  windows = _windows(record, metric)
  if windows is None or len(record.series["train"][metric].iterations) < 2 * FEWEST:
    return None
  return _advisory(windows, (windows.last < share * windows.first) & ~np.asarray(unless), name, text)


def _advisory(windows: _Windows, seeds: np.ndarray, name: str, text: Callable[[_Marked], str]) -> Advisory | None:
  if not seeds.any():
    return None
  marked = np.flatnonzero(seeds).tolist()
  of = "" if seeds.all() else f" (seed{'s' * (len(marked) > 1)} {', '.join(map(str, marked))})"
  first, last = (mean(values[seeds].tolist()) for values in (windows.first, windows.last))
  return Advisory(name + of, text(_Marked(first, last, windows.size)))


def _all(record: Record, name: str) -> np.ndarray | None:
  """All values [N, S] of a metric, or None with fewer than `FEWEST` iterations."""
  series = record.series.get("train", {}).get(name)
  return series.values if series is not None and len(series.iterations) >= FEWEST else None


def _windows(record: Record, name: str) -> _Windows | None:
  """First and last window of a metric; they overlap in a run of fewer than 2 `FEWEST` iterations."""
  values = _all(record, name)
  if values is None:
    return None
  size = min(WINDOW, max(FEWEST, len(values) // 2))
  return _Windows(_finite_mean(values[:size]), _finite_mean(values[-size:]), size)


def _finite_mean(values: np.ndarray) -> np.ndarray:
  """Mean of the finite values over iterations; NaN if there are none."""
  finite = np.isfinite(values)
  count = finite.sum(axis=0)
  return np.where(count > 0, np.where(finite, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _failures(record: Record) -> str:
  """Failures of the verifier in the last window, with shares of rows; "" if none is recorded."""
  found = {failure: _windows(record, name) for name, failure in FAILURES.items()}
  shares = {failure: max(windows.last.tolist()) for failure, windows in found.items() if windows is not None}
  return ", ".join(f"{failure} on {_percent(share)} of the rows" for failure, share in shares.items() if share > 0)


def _percent(share: float) -> str:
  return f"{100 * share:.0f} %"
