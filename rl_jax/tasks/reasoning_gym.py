"""Task of reasoning-gym: any of its data sets, or a weighted mixture.

Each data set has its own scorer, or one of this package if that executes answers or pays for a constant.

config.task = {"name": "rl_jax.tasks.reasoning_gym", "dataset": "chain_sum"}
config.task.levels = {"short": {"max_terms": 3}, "long": {"min_terms": 4, "weight": 0.5}, "gcd": {"dataset": "gcd"}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rl_jax.tasks import fields, host, scoring
from rl_jax.tasks.datasets.prepare import package_version, prepare
from rl_jax.tasks.datasets.reasoning_gym import ReasoningGym
from rl_jax.tasks.host import HostTask, Scorers
from rl_jax.tasks.prompting import Tokenizer

VERIFIER = "rl_jax.tasks.datasets.procedural:score"


def get_config() -> dict[str, Any]:
  """Fields and their defaults."""
  return {
    "dataset": "chain_sum",  # data set of levels that name none
    # level name -> {"dataset": a reasoning-gym name, "weight": share in the mixture (default 1, 0 takes the level out),
    # and any parameters of that data set}; {}: one level, the data set as it is
    "levels": {},
    "problems": 4096,  # total number generated, before repeated questions are dropped
    "seed": 0,  # another seed: other problems
    "held_out_fraction": 0.125,  # share of all questions that is never trained on
    "answer": "tag",  # how the answer is found: last <answer>…</answer>; "line" Answer: …; last "number"; "whole" text
    **host.FIELDS,
  }


def build(
  config: Mapping[str, Any],
  *,
  vocabulary: Tokenizer | None = None,
  scorers: Scorers | None = None,
) -> HostTask:
  """The task of `config` (fields as in `get_config`).

  Args:
    vocabulary: instead of the tokenizer that the config names.
    scorers: instead of the data sets' own score and the terms that the config names, in worker processes.

  Raises: ValueError: in one line, for a field that makes no sense.
  """
  config = fields.complete(config, get_config(), where="task")
  levels = _levels(config)
  scoring.rule(config["answer"])
  settings = {
    "levels": levels,
    "problems": fields.whole(config["problems"], 2, 2**31 - 1, where="task.problems"),
    "seed": fields.whole(config["seed"], 0, 2**31 - 1, where="task.seed"),
    "held_out_fraction": fields.number(config["held_out_fraction"], 1 / 64, 1 / 2, where="task.held_out_fraction"),
  }
  data = prepare(ReasoningGym, settings, {"reasoning-gym": package_version("reasoning-gym")})
  return host.build(
    data,
    config,
    vocabulary=vocabulary or host.pretrained_vocabulary(config["tokenizer"]),
    scorers=scorers or host.scorers(VERIFIER, {"levels": levels, "answer": config["answer"]}, config),
  )


def _levels(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
  levels = fields.named(config["levels"] or {config["dataset"]: {}}, where="task.levels")
  return {
    name: {
      "dataset": level.get("dataset", config["dataset"]),
      "parameters": {key: level[key] for key in level if key not in ("dataset", "weight")},
      "weight": float(level.get("weight", 1.0)),
    }
    for name, level in levels.items()
  }
