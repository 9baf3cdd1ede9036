"""Does denser credit learn faster than one reward per answer, for the same number of generated tokens?

Four operations modulo 10 (the standard comparison), on which GRPO comes from 0.44 to about 0.85 within the budget, so
it is neither stuck nor finished; that was fixed before any method was compared. All generated tokens count, also those
of extra completions and probes. Tuning budget: none. Every method has the learning rate of experiments/common.py and
what its own experiment states; T-PPO's critic (learning rate, warm-up) was chosen on single runs of seed 0, as it does
not learn without.
"""

from ml_collections import ConfigDict

ENTRIES = {
  "grpo": "experiments/grpo.py",
  "dr_grpo": "experiments/dr_grpo.py",
  "rloo": "experiments/rloo.py",
  "ppo": "experiments/ppo.py",
  "dapo": "experiments/dapo.py",
  "prime": "experiments/prime.py",
  "spo_chain": "experiments/spo_chain.py",
  "spo_tree": "experiments/spo_tree.py",
  "spae": "experiments/spae.py",
  "tppo": "experiments/tppo.py",
}

OFTEN = ("logging.every_iterations=2", "evaluation.every_iterations=2")
"""Methods that spend the budget in few iterations are measured in each second one."""


def get_config() -> ConfigDict:
  """Budgets are tokens per seed. Claims compare two entries, each by its metric at the budget."""
  return ConfigDict(
    {
      "token_budget": 120_000,
      "overrides": (
        "num_seeds=5",
        "num_iterations=1000",
        "logging.every_iterations=4",
        "logging.tensorboard=False",
        "evaluation.every_iterations=8",
        "evaluation.greedy=False",
        "checkpoint.every_iterations=1000",
        "checkpoint.keep=1",
      ),
      "final_overrides": ("evaluation.credit_prompts=8",),  # not while tuning
      "tuning": {"grid": {}, "overrides": ("num_seeds=2", "seed=500")},
      "entries": {
        name: {"config": file, "overrides": OFTEN if name in ("spo_chain", "spae") else ()}
        for name, file in ENTRIES.items()
      },
      "baseline": "grpo",
      "metrics": (
        "held_out/sampled_accuracy",
        "held_out/response_length",
        "credit/mse",
        "credit/rank_correlation",
        "credit/sign_agreement",
      ),
      "claims": {
        "prime: higher accuracy than RLOO": {"left": "prime", "right": "rloo", "metric": "held_out/sampled_accuracy"},
        "spo: chain credit has a lower error than GRPO's": {
          "left": "spo_chain", "right": "grpo", "metric": "credit/mse", "direction": "below",
        },
        "spo: chain reaches a higher accuracy than GRPO": {
          "left": "spo_chain", "right": "grpo", "metric": "held_out/sampled_accuracy",
        },
        "spo: tree reaches a higher accuracy than GRPO": {
          "left": "spo_tree", "right": "grpo", "metric": "held_out/sampled_accuracy",
        },
        "spae: shorter responses than GRPO": {
          "left": "spae", "right": "grpo", "metric": "held_out/response_length", "direction": "below",
        },
        "tppo: as accurate as PPO (above would be more than the claim)": {
          "left": "tppo", "right": "ppo", "metric": "held_out/sampled_accuracy",
        },
      },
    }
  )  # fmt: skip
