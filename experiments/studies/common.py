"""What the studies share: seeds, cadences, and that nothing is tuned. Plain data."""

from ml_collections import ConfigDict

ACCURACY = "held_out/sampled_accuracy"
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
) -> ConfigDict:
  """Budgets are tokens per seed, and all generated tokens count. Claims compare two entries, each at the budget."""
  return ConfigDict(
    {
      "token_budget": token_budget,
      "overrides": (
        "num_seeds=5",
        "num_iterations=1000",
        "logging.every_iterations=4",
        "logging.tensorboard=False",
        "evaluation.every_iterations=8",
        "evaluation.greedy=False",
        "checkpoint.every_iterations=1000",
        "checkpoint.keep=1",
        *overrides,
      ),
      "final_overrides": final_overrides,  # not while tuning
      "tuning": {"grid": {}, "overrides": ("num_seeds=2", "seed=500")},
      "entries": entries,
      "baseline": baseline,
      "metrics": metrics,
      "claims": claims,
    }
  )


def above(left: str, right: str, metric: str = ACCURACY) -> dict:
  """The claim that `left` has more of a metric than `right`."""
  return {"left": left, "right": right, "metric": metric}


def below(left: str, right: str, metric: str) -> dict:
  """The claim that `left` has less of it."""
  return above(left, right, metric) | {"direction": "below"}
