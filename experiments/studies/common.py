"""Shared parts of the studies: seeds, starts, cadences, claims. Plain data."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

ACCURACY = "held_out/sampled_accuracy"
GREEDY = "held_out/greedy_accuracy"
LENGTH = "held_out/response_length"


def study(
  *,
  token_budget: int,
  entries: dict,
  claims: dict,
  baseline: str,
  metrics: tuple = (ACCURACY, LENGTH),
  seeds: int = 5,
  tuning_seeds: int = 2,
  overrides: tuple = (),
  final_overrides: tuple = (),
  gates: dict | None = None,
  learning_rates: tuple = (),
  tuning_budget: int | None = None,
  tuning_overrides: tuple = (),
  final_samples: int = 0,
  runs: str = "",
  note: str = "",
) -> ConfigDict:
  """Budgets are tokens per seed, and all generated tokens count. Claims compare two entries, each at the budget.

  Args:
    gates: entries that are controls, by "oracle" and "no_reward"; without them claims are judged as they are.
    learning_rates: each method is tuned over these, side by side, `tuning_seeds` each.
    tuning_budget: tokens per seed while tuning; None: the whole budget.
    tuning_overrides: only while tuning.
    final_samples: answers to each held-out prompt when a run has ended; 0: none beside those of its curve.
    runs: name of the folder of runs, for studies that share some; "": a folder of its own.
    note: text above the table.
  """
  return ConfigDict(
    {
      "token_budget": token_budget,
      "overrides": (
        f"num_seeds={seeds}",
        "num_iterations=1000",
        "logging.every_iterations=4",
        "logging.tensorboard=False",
        "evaluation.every_iterations=8",
        "checkpoint.every_iterations=1000",
        "checkpoint.keep=1",
        *overrides,
      ),
      "final_overrides": final_overrides,  # not while tuning
      "tuning": {
        "grid": {},
        "learning_rates": learning_rates,
        "token_budget": tuning_budget,
        "overrides": (f"num_seeds={tuning_seeds * max(len(learning_rates), 1)}", "seed=500", *tuning_overrides),
      },
      "final_samples": final_samples,
      "runs": runs,
      "gates": gates or {},
      "note": note,
      "entries": entries,
      "baseline": baseline,
      "metrics": metrics,
      "claims": claims,
    }
  )


RATES = (5e-5, 1e-4, 2e-4, 4e-4)


def tuned_study(
  *,
  token_budget: int,
  entries: dict,
  claims: dict,
  baseline: str,
  gates: dict,
  metrics: tuple = (ACCURACY, GREEDY, LENGTH),
  overrides: tuple = (),
  seeds: int = 12,
  starts: int = 6,
  rates: tuple = RATES,
  tuning_starts: int = 3,
  final_samples: int = 4,
  runs: str = "",
  stages: tuple = ("warm_start", "critic"),
  tuning_overrides: tuple = (),
) -> ConfigDict:
  """A study as most are: `rates` side by side, each from `tuning_starts` starts of their own, on half of the
  budget, by the area under the curve; then `seeds` seeds of `starts` other starts: starts differ more than seeds
  do. Tuning and final run are one compiled program where they have as many members. Accuracy is that on 512 held-out
  prompts, one answer each on the way and `final_samples` at the end, in 16 blocks that intervals resample.

  Args:
    stages: those of which there is one for each start; `tuning_overrides` give other seeds to those that are drawn.
  """
  return study(
    token_budget=token_budget,
    entries=entries,
    seeds=seeds,
    tuning_seeds=tuning_starts,
    overrides=(
      *(f"stages.{stage}.num_seeds={starts}" for stage in stages),
      "evaluation.prompts=512",
      "evaluation.prompt_blocks=16",
      "evaluation.samples_per_prompt=1",
      "evaluation.pass_at=()",
      "logging.samples=0",
      "logging.report=False",
      *overrides,
    ),
    tuning_overrides=(
      *(f"stages.{stage}.num_seeds={tuning_starts}" for stage in stages),
      "stages.warm_start.seed=1500",
      *tuning_overrides,
    ),
    final_samples=final_samples,
    runs=runs,
    baseline=baseline,
    metrics=metrics,
    gates=gates,
    learning_rates=rates,
    tuning_budget=token_budget // 2,
    claims=claims,
  )


def above(left: str, right: str, metric: str = ACCURACY, across: str = "budget") -> dict:
  """The claim that `left` has more of a metric than `right`, over an axis (rl_jax/runs/claims.py)."""
  return {"left": left, "right": right, "metric": metric, "across": across}


def below(left: str, right: str, metric: str, across: str = "budget") -> dict:
  """The claim that `left` has less of it."""
  return above(left, right, metric, across) | {"direction": "below"}


SMALL: dict[str, Any] = {"seeds": 6, "starts": 3, "rates": RATES[1:], "tuning_starts": 2, "final_samples": 0}
"""Seeds, starts and rates of the studies of one paper's claim: six members in tuning and in the final run."""

HARD = "held_out/five/sampled_accuracy"
CORRECT_LENGTH = "held_out/correct_response_length"

MOST_TOKENS = 24
FEW_TOKENS = 14
"""Room of a response in `of_length`, and a limit that is near half of it: five steps, each written once, take 13."""

FREE_LENGTH = (
  "task.levels={'three': {'operations': 3, 'operators': '+-'}, 'five': {'operations': 5, 'operators': '+-'}}",
  "task.recheck_rate=0.6",
  "task.skip_rate=0.05",
  "task.spare_tokens=11",
  "sampling.agreement=1e-4",  # over so many tokens of so many members the largest rounding is 1.05e-5
)
"""Demonstrations that write most steps twice, with room for all of that: 13 tokens on average for three operations, 19
for five."""


def of_length(
  entries: Mapping[str, tuple[str, tuple[str, ...]]],
  *,
  baseline: str,
  claims: dict,
  metrics: tuple = (ACCURACY, GREEDY, HARD, LENGTH),
  controls: tuple = ("oracle", "no_reward"),
  token_budget: int = 200_000,
) -> ConfigDict:
  """A study of response lengths: deceptive chains of three and of five operations, whose start writes most steps twice.

  On the variant "verbose" of experiments/common.py length is free as well, but the greedy answers of its start are
  right, and the gates would not hold. All entries take four optimiser steps per iteration; they are tuned over three
  rates from two starts, and have six seeds of three others. These studies share their starts and controls.
  The oracle is drawn, and is no gate: its gate asks whether exact credit of steps can pay, which no claim on lengths
  and weights of whole responses is about. On chains as short as these it does not.

  Args:
    entries: experiment and overrides by name; `controls`, which have the names of their experiments, are added.
  """
  return tuned_study(
    token_budget=token_budget,
    entries={
      name: {"config": f"{experiment}:deceptive_4", "overrides": (*FREE_LENGTH, *overrides)}
      for name, (experiment, overrides) in {**entries, **{name: (name, ()) for name in controls}}.items()
    },
    **SMALL,
    runs="of_length",
    baseline=baseline,
    metrics=metrics,
    gates={"no_reward": "no_reward"},
    claims=claims,
  )
