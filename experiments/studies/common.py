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
  tuning_metric: str = "",
  final_samples: int = 0,
  runs: str = "",
  note: str = "",
) -> ConfigDict:
  """Budgets are tokens per seed, and all generated tokens count. Claims compare two entries, each at the budget.

  An entry has an experiment `config` and its `overrides`. It may have `tuning_overrides` of its own and `side_by_side`,
  fields with the values that the members of its tuning run take in turn, in place of the study's learning rates.

  Args:
    gates: names of the control entries "oracle" and "no_reward"; without gates claims are always judged.
    learning_rates: each method is tuned over these in parallel, with `tuning_seeds` seeds each.
    tuning_budget: tokens per seed while tuning; None: the whole budget.
    tuning_overrides: overrides used only while tuning.
    tuning_metric: what tuning compares at its budget; "": accuracy, by the area under the curve if side by side.
    final_samples: answers to each held-out prompt after a run has ended; 0: none besides those of its curve.
    runs: name of the folder of runs, for studies that share runs; "": a folder of its own.
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
        "metric": tuning_metric,
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
  note: str = "",
  stages: tuple = ("warm_start", "critic"),
  tuning_overrides: tuple = (),
) -> ConfigDict:
  """The usual study. Tuning tries `rates` in parallel, each from `tuning_starts` separate starts, on half of the
  budget, and chooses by the area under the curve. The final run has `seeds` seeds of `starts` other starts, as starts
  differ more than seeds do. Tuning and final run share a compiled program if they have equally many members. Accuracy
  is over 512 held-out prompts in 16 blocks that intervals resample, with one answer each during training and
  `final_samples` at the end.

  Args:
    stages: stages that are trained once for each start; `tuning_overrides` give other seeds to those that are drawn.
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
    note=note,
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
  """The claim that `left` has less of a metric than `right`, over an axis."""
  return above(left, right, metric, across) | {"direction": "below"}


OF_DIGITS = {"chance": 0.1}
"""Field of a claim at equal accuracy on chains modulo 10: one guess in ten is right."""


SMALL: dict[str, Any] = {"seeds": 6, "starts": 3, "rates": RATES[1:], "tuning_starts": 2, "final_samples": 0}
"""Seeds, starts and rates of studies of one paper's claims: six members in tuning and in the final run."""

HARD = "held_out/five/sampled_accuracy"
CORRECT_LENGTH = "held_out/correct_response_length"

MOST_TOKENS = 24
FEW_TOKENS = 14
"""Response limit in `of_length`, and a limit near half of it: five steps, each written once, take 13 tokens."""

FREE_LENGTH = (
  "task.levels={'three': {'operations': 3, 'operators': '+-'}, 'five': {'operations': 5, 'operators': '+-'}}",
  "task.recheck_rate=0.6",
  "task.skip_rate=0.05",
  "task.spare_tokens=11",
  "sampling.agreement=1e-4",  # over that many tokens and members, the largest rounding error is 1.05e-5
)
"""Demonstrations that write most steps twice, with room for it: 13 tokens on average for three operations, 19 for
five."""


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
  The oracle is drawn but is not a gate: its gate asks whether exact credit of steps can pay, while the claims are about
  lengths and weights of whole responses. On chains as short as these it does not pay.

  Args:
    entries: experiment and overrides by name; `controls`, named after their experiments, are added.
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
