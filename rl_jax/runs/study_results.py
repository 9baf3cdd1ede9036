"""What a study found: the runs of its entries, read at the token budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rl_jax.errors import UserError
from rl_jax.runs.comparison import area_under, at_tokens
from rl_jax.runs.curve import ORIGIN
from rl_jax.runs.directory import RunDirectory
from rl_jax.runs.files import read_json
from rl_jax.runs.manifest import read_launches
from rl_jax.runs.metric_names import ACCURACY, GREEDY, TOKENS
from rl_jax.runs.metrics import read_metrics
from rl_jax.runs.record import at, load


class Entry(NamedTuple):
  """One method of a study."""

  tokens: np.ndarray
  """[N, S] tokens that each of S seeds had generated at N evaluations."""
  values: dict[str, np.ndarray]
  """[N, S] by metric; a metric that the run has not is left out."""
  at_budget: dict[str, list[float]]
  """A number per seed, at exactly the budget."""
  seconds: float
  origin: dict[str, Any]
  chosen: tuple[str, ...] = ()
  """Overrides that tuning chose."""
  tried: dict[str, float] = {}
  """What tuning saw: the score of each of its points."""
  iterations: tuple[int, ...] = ()
  """Of the N evaluations."""
  updates_per_iteration: int = 1
  starts: int = 1
  """Starts that the seeds take in turn."""

  def updates_at(self, budget: float) -> float:
    """Optimiser updates when so many tokens were generated, the mean over seeds."""
    return float(np.mean([at_tokens(x, self.updates, budget) for x in self.tokens.T]))

  def mean_over_tokens(self, metric: str, budget: float) -> list[float]:
    """A metric's mean height over generated tokens up to a budget, a number per seed."""
    curves = zip(self.tokens.T, self.values[metric].T, strict=True)
    return [area_under(tokens, curve, budget) for tokens, curve in curves]

  def mean_over_updates(self, metric: str, updates: float) -> list[float]:
    """The same over optimiser updates."""
    return [area_under(self.updates, curve, updates) for curve in self.values[metric].T]

  @property
  def updates(self) -> np.ndarray:
    """[N] optimiser updates at the evaluations."""
    return np.asarray(self.iterations, np.float64) * self.updates_per_iteration


def read(directory: RunDirectory, metrics: Sequence[str], budget: float) -> Entry:
  """A run as an entry.

  Raises: UserError: it has not generated as many tokens, or has no accuracy.
  """
  series = load(directory).series
  evaluation, train = series.get("evaluation", {}), series.get("train", {})
  if ACCURACY not in evaluation or TOKENS not in train:
    raise UserError(f"{directory.path} has no {ACCURACY}: it is no run that a study can read")
  points, tokens = evaluation[ACCURACY].iterations, train[TOKENS]
  spent = np.stack([at(tokens, iteration) for iteration in points])
  if spent[-1].min() < budget:
    raise UserError(
      f"{directory.path} ended at {spent[-1].min():.0f} of {budget:.0f} tokens: raise num_iterations in the study"
    )
  evaluated = {name: evaluation[name] for name in dict.fromkeys((*metrics, ACCURACY, GREEDY)) if name in evaluation}
  values = {
    name: np.stack([at(metric_series, iteration) for iteration in points]) for name, metric_series in evaluated.items()
  }
  at_budget = {
    name: [at_tokens(spent[:, seed], curve[:, seed], budget) for seed in range(spent.shape[1])]
    for name, curve in values.items()
  }
  launches = read_launches(directory.manifest)
  origin = {name: launches[0].get(name) for name in ORIGIN} | {"identity": read_json(directory.identity)["identity"]}
  seconds = sum(line["seconds"] for line in read_metrics(directory.timings))
  config = read_json(directory.config)
  steps = config["epochs"] * config["minibatches_per_epoch"]
  stage = config.get("stages", {}).get(config["init_from"], {})
  return Entry(
    spent, values, at_budget, seconds, origin,
    iterations=tuple(points.tolist()), updates_per_iteration=steps, starts=stage.get("num_seeds", 1),
  )  # fmt: skip


def rounded(value: float) -> float:
  """A number of a curve as it is committed: five digits."""
  return float(f"{value:.5g}")
