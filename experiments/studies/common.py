"""What the studies share: seeds, starts, cadences, claims. Plain data."""

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
  overrides: tuple = (),
  final_overrides: tuple = (),
  gates: dict | None = None,
  learning_rates: tuple = (),
  tuning_budget: int | None = None,
  tuning_overrides: tuple = (),
  final_samples: int = 0,
  note: str = "",
) -> ConfigDict:
  """Budgets are tokens per seed, and all generated tokens count. Claims compare two entries, each at the budget.

  Args:
    gates: entries that are controls, by "oracle" and "no_reward"; without them claims are judged as they are.
    learning_rates: each method is tuned over these, side by side, two seeds each.
    tuning_budget: tokens per seed while tuning; None: the whole budget.
    tuning_overrides: only while tuning.
    final_samples: answers to each held-out prompt when a run has ended; 0: none beside those of its curve.
    note: stands above the table.
  """
  return ConfigDict(
    {
      "token_budget": token_budget,
      "overrides": (
        "num_seeds=5",
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
        "overrides": (f"num_seeds={2 * max(len(learning_rates), 1)}", "seed=500", *tuning_overrides),
      },
      "final_samples": final_samples,
      "gates": gates or {},
      "note": note,
      "entries": entries,
      "baseline": baseline,
      "metrics": metrics,
      "claims": claims,
    }
  )


def above(left: str, right: str, metric: str = ACCURACY, across: str = "budget") -> dict:
  """The claim that `left` has more of a metric than `right`, over an axis (rl_jax/runs/claims.py)."""
  return {"left": left, "right": right, "metric": metric, "across": across}


def below(left: str, right: str, metric: str, across: str = "budget") -> dict:
  """The claim that `left` has less of it."""
  return above(left, right, metric, across) | {"direction": "below"}
