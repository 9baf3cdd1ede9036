"""Results of a study: the runs of its entries, read up to the token budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rl_jax.errors import UserError
from rl_jax.runs.comparison import area_under, at_tokens
from rl_jax.runs.curve import ORIGIN
from rl_jax.runs.directory import RunDirectory, read_identity
from rl_jax.runs.files import decode_number, read_json
from rl_jax.runs.manifest import first_launch
from rl_jax.runs.metric_names import ACCURACY, BLOCKS, GREEDY, SEQUENTIAL, TOKENS
from rl_jax.runs.metrics import read_timings
from rl_jax.runs.record import Series, at, load

AXES = ("tokens", "updates", "sequential_tokens")
"""Horizontal axes of curves: all generated tokens; optimiser updates; the tokens of each iteration's longest row, added
up, which is proportional to the time of an iteration with enough parallel rows."""

POINTS = 100
"""Largest number of points of a committed curve."""


class Entry(NamedTuple):
  """One method of a study."""

  tokens: np.ndarray
  """[N, S] tokens that each of S seeds had generated at N evaluations."""
  values: dict[str, np.ndarray]
  """[N, S] by metric; a metric that the run lacks is left out."""
  at_budget: dict[str, list[float]]
  """A number per seed, at exactly the budget."""
  seconds: float
  origin: dict[str, Any]
  chosen: tuple[str, ...] = ()
  """Overrides that tuning chose."""
  tried: dict[str, float] = {}
  """Score of each point that tuning tried."""
  tuning_seconds: float = 0.0
  """Training seconds of the runs that tuning made; 0: none, or not recorded."""
  iterations: tuple[int, ...] = ()
  """Iterations of the N evaluations."""
  updates_per_iteration: int = 1
  starts: int = 1
  """Starts that the seeds take in turn."""
  sequential: np.ndarray | None = None
  """[N, S] sequential tokens so far; None: not recorded."""
  blocks: np.ndarray | None = None
  """[N, S, K] sampled accuracy by blocks of held-out prompts; None: not recorded."""
  final: np.ndarray | None = None
  """[S, P] share of right answers among several to each held-out problem at the end; None: not asked."""
  specification: Mapping[str, Any] = {}
  """Settings that the entry was run with (`specification`)."""

  def across(self, axis: str) -> np.ndarray:
    """Positions [N, S] of the evaluations on an axis."""
    if axis == "updates":
      updates = np.asarray(self.iterations, np.float64) * self.updates_per_iteration
      return np.broadcast_to(updates[:, None], self.tokens.shape)
    if axis == "tokens":
      return self.tokens
    if self.sequential is None:
      raise ValueError("the run has no record of sequential tokens")
    return self.sequential

  def end(self, axis: str, budget: float) -> float:
    """Point of an axis at which the budget of tokens is reached, mean over seeds."""
    pairs = zip(self.tokens.T, self.across(axis).T, strict=True)
    return float(np.mean([at_tokens(tokens, across, budget) for tokens, across in pairs]))

  def curves(self, metric: str) -> np.ndarray:
    """[N, S, K] a metric by blocks of prompts; of one block where there are none."""
    return self.blocks if metric == ACCURACY and self.blocks is not None else self.values[metric][..., None]

  def value_at(self, metric: str, axis: str, end: float) -> np.ndarray:
    """[S, K] a metric at a point of an axis, interpolated linearly between evaluations."""
    return self._each(metric, axis, lambda across, curve: at_tokens(across, curve, end))

  def mean_over(self, metric: str, axis: str, end: float) -> np.ndarray:
    """[S, K] a metric's mean height over an axis up to a point."""
    return self._each(metric, axis, lambda across, curve: area_under(across, curve, end))

  def _each(self, metric: str, axis: str, measure: Any) -> np.ndarray:
    curves, across = self.curves(metric), self.across(axis)
    seeds, blocks = curves.shape[1:]
    found = [[measure(across[:, seed], curves[:, seed, block]) for block in range(blocks)] for seed in range(seeds)]
    return np.array(found)

  def as_json(self) -> dict[str, Any]:
    """The entry at no more than `POINTS` evaluations, with few digits."""
    count = len(self.tokens)
    indices = np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))
    short: Any = lambda x: None if x is None else _rounded(x[indices].tolist())
    return {
      "specification": dict(self.specification),
      "chosen": list(self.chosen),
      "tried": _rounded(self.tried),
      "seconds": round(self.seconds, 1),
      "tuning_seconds": round(self.tuning_seconds, 1),
      "at_budget": {name: [round(value, 5) for value in values] for name, values in self.at_budget.items()},
      "iterations": [self.iterations[i] for i in indices] if self.iterations else [],
      "updates_per_iteration": self.updates_per_iteration,
      "starts": self.starts,
      "tokens": short(self.tokens),
      "sequential": short(self.sequential),
      "values": {name: short(values) for name, values in self.values.items()},
      "blocks": short(self.blocks),
      "final": None if self.final is None else _rounded(self.final.tolist()),
      **self.origin,
    }


OF_STUDY = ("token_budget", "overrides", "final_overrides", "tuning")
"""Fields of a study that change the runs of all its entries."""


def specification(study: Mapping[str, Any], name: str) -> dict[str, Any]:
  """Settings of an entry in a study's config: its own fields, and under "study" those of all entries."""
  shared = {field: study[field] for field in OF_STUDY if field in study}
  return {**study.get("entries", {}).get(name, {}), "study": shared}


def from_json(saved: Mapping[str, Any]) -> Entry:
  """The inverse of `Entry.as_json`."""
  numbers: Any = lambda x: None if x is None else np.vectorize(decode_number, otypes=[np.float64])(np.array(x, object))
  return Entry(
    tokens=np.asarray(saved["tokens"], np.float64),
    values={name: numbers(values) for name, values in saved["values"].items()},
    at_budget={name: [decode_number(value) for value in values] for name, values in saved["at_budget"].items()},
    seconds=saved["seconds"],
    tuning_seconds=saved.get("tuning_seconds", 0.0),
    origin={name: saved.get(name) for name in (*ORIGIN, "identity")},
    chosen=tuple(saved["chosen"]),
    tried=dict(saved["tried"]),
    iterations=tuple(saved["iterations"]),
    updates_per_iteration=saved["updates_per_iteration"],
    starts=saved.get("starts", 1),
    sequential=numbers(saved.get("sequential")),
    blocks=numbers(saved.get("blocks")),
    final=numbers(saved.get("final")),
    specification=saved.get("specification", {}),
  )


def read(directory: RunDirectory, metrics: Sequence[str], budget: float) -> Entry:
  """A run as an entry.

  Raises: UserError: the run has generated fewer tokens than the budget, or has no accuracy.
  """
  series = load(directory).series
  evaluation, train = series.get("evaluation", {}), series.get("train", {})
  if ACCURACY not in evaluation or TOKENS not in train:
    raise UserError(f"{directory.path} has no {ACCURACY}: a study needs runs with held-out evaluations")
  points = evaluation[ACCURACY].iterations
  at_points = lambda series: np.stack([at(series, iteration) for iteration in points])
  spent = at_points(train[TOKENS])
  if spent[-1].min() < budget:
    raise UserError(
      f"{directory.path} ended at {spent[-1].min():.0f} of {budget:.0f} tokens: raise num_iterations in the study"
    )
  measured = train | evaluation
  # Training metrics have no value before the first iteration.
  curve = lambda series: np.stack([at(series, max(iteration, series.iterations[0])) for iteration in points])
  names = [name for name in dict.fromkeys((*metrics, ACCURACY, GREEDY)) if name in measured]
  values = {name: curve(measured[name]) for name in names}
  at_budget = {
    name: [at_tokens(spent[:, seed], curve[:, seed], budget) for seed in range(spent.shape[1])]
    for name, curve in values.items()
  }
  blocks = [at_points(evaluation[name]) for name in sorted(evaluation) if name.startswith(BLOCKS)]
  launch = first_launch(directory.manifest)
  origin = {name: launch.get(name) for name in ORIGIN} | {"identity": read_identity(directory)}
  config = read_json(directory.config)
  return Entry(
    tokens=spent,
    values=values,
    at_budget=at_budget,
    seconds=sum(line["seconds"] for line in read_timings(directory.timings)),
    origin=origin,
    iterations=tuple(points.tolist()),
    updates_per_iteration=config["epochs"] * config["minibatches_per_epoch"],
    starts=config.get("stages", {}).get(config["init_from"], {}).get("num_seeds", 1),
    sequential=at_points(_added_up(train[SEQUENTIAL])) if SEQUENTIAL in train else None,
    blocks=np.stack(blocks, axis=-1) if blocks else None,
  )


def _added_up(series: Series) -> Series:
  return Series(series.iterations, np.cumsum(series.values, axis=0))


def rounded(value: float) -> float:
  """Number of a committed curve, to five digits."""
  return float(f"{value:.5g}")


def _rounded(tree: Any) -> Any:
  if isinstance(tree, dict):
    return {name: _rounded(value) for name, value in tree.items()}
  return [_rounded(value) for value in tree] if isinstance(tree, list) else rounded(tree)
