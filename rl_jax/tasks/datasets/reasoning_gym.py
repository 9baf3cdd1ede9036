"""TFDS builder of a reasoning-gym data set, or of a weighted mixture of several."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from rl_jax.tasks.datasets import procedural
from rl_jax.tasks.datasets.builder import ProblemBuilder, reported
from rl_jax.tasks.datasets.problems import Problem, SplitProblems, divide


@dataclasses.dataclass(eq=False, kw_only=True)
class ReasoningGymConfig(tfds.core.BuilderConfig):
  """Settings of the problems to generate.

  Attributes:
    levels: name -> {"dataset": its reasoning-gym name, "parameters": {…}, "weight": share relative to the others}.
    problems: total number generated, before repeated questions are dropped.
    seed: seed of the problems.
    held_out_fraction: share of all questions that is held out.
  """

  levels: Mapping[str, Mapping[str, Any]]
  problems: int
  seed: int
  held_out_fraction: float


class ReasoningGym(ProblemBuilder):
  """Problems of reasoning-gym data sets, split by the hash of the question."""

  config_class = ReasoningGymConfig

  def divided(self) -> SplitProblems:
    """The problems of both splits, level by level."""
    return divide(reported(_problems(self.builder_config)), self.builder_config.held_out_fraction)


def counts_of(weights: Mapping[str, float], problems: int) -> dict[str, int]:
  """Problems of each level in proportion to its weight; the sum is `problems`."""
  total, cumulative, before, counts = sum(weights.values()), 0.0, 0, {}
  for name, weight in weights.items():
    cumulative += weight
    upto = round(problems * cumulative / total)
    counts[name], before = upto - before, upto
  return counts


def _problems(config: ReasoningGymConfig) -> Iterator[Problem]:
  counts = counts_of({name: level["weight"] for name, level in config.levels.items()}, config.problems)
  for name, level in config.levels.items():
    if not counts[name]:
      raise ValueError(f"level {name!r}: its share of {config.problems} problems is none; raise task.problems")
    dataset = procedural.create(
      level["dataset"], level["parameters"], seed=_level_seed(config.seed, name), size=counts[name]
    )
    for index in range(counts[name]):
      entry = dataset[index]
      yield Problem(entry["question"], name, entry)


def _level_seed(seed: int, level: str) -> int:
  """Seed of a level, far from those of others: an entry's own seed is the data set's plus its index."""
  return int.from_bytes(hashlib.sha256(f"{seed}/{level}".encode()).digest()[:4], "big") >> 1
