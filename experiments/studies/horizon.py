"""From which horizon on, and how much, does dense credit pay, per token and per update?

Chains of eight operations whose demonstrations lure the policy into a wrong step: success is rare at the start, and the
likeliest response is wrong (rl_jax/tasks/chain.py). The variants have four operations ("4"), where by the same argument
credit should pay little, and sixteen ("16"). Two controls bound the possible gain of a method: `oracle`, the values of
steps for a policy that slips as modelled, and `no_reward`. Claims are judged only if the gates hold
(rl_jax/runs/gates.py).

Every method takes four optimiser steps per iteration, as PRIME does, and SPO-chain eight in two passes. (DAPO, T-PPO
and SPO-chain take sixteen in their papers, SPO-tree eight, on batches several times as large.) All are tuned in the
same way: four learning rates in parallel, each three times the one before so that the best is seldom at an edge, from
three separate starts, by the area under the curve over tokens, on half of the budget. The final run has twelve seeds of
six other starts, as starts differ more than seeds do. Both run one compiled program. At sixteen operations a seed takes
twice as many tokens, so the final run has one seed of each of the six starts, and tuning three rates from two. All
these starts go on from one policy, each with data of its own: separate ones do not all learn sixteen operations in
time, so intervals hardly cover the spread of starts.

Of the methods that credit whole responses the usual ones are here as baselines; others have studies of their own
claims.

Claims are those of the papers, on the papers' axes: PRIME and SPO claim higher accuracy at equal steps, SPAE shorter
responses at equal accuracy, DAPO higher accuracy at equal steps, T-PPO less waiting (sequential tokens) than PPO with
the same critic. "Per token" is our own question, asked of every method that divides credit.

Command: python -m rl_jax.study horizon --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 3,383 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 300,000 tokens: grpo 0.477 ± 0.400, ppo 0.575 ± 0.416, oracle 0.727 ± 0.142;
  12 seeds (results/horizon.json).

Command: python -m rl_jax.study horizon:4 --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 1,274 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 150,000 tokens: grpo 0.935 ± 0.016, ppo 0.937 ± 0.028, oracle 0.800 ± 0.216;
  12 seeds (results/horizon_4.json).

Command: python -m rl_jax.study horizon:16 --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 1,739 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 600,000 tokens: grpo 0.540 ± 0.220, oracle 0.753 ± 0.043, spo_tree 0.287 ±
  0.080; 6 seeds (results/horizon_16.json).
"""

from typing import Any

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH, above, below

RATES = (5e-5, 1.5e-4, 4.5e-4, 1.35e-3)
HORIZONS: dict[str, dict[str, Any]] = {
  "4": {"variant": "deceptive_4", "operations": 4, "study": {"token_budget": 150_000, "rates": RATES}},
  "": {"variant": "deceptive", "operations": 8, "study": {"token_budget": 300_000, "rates": RATES}},
  "16": {
    "variant": "deceptive_16",
    "operations": 16,
    "study": {
      **common.SMALL,
      "token_budget": 600_000,
      "starts": 6,
      "final_samples": 4,
      "note": "All starts go on from one policy, and each has one seed: intervals hardly cover the spread of starts.",
    },
  },
}

METHODS = ("grpo", "dr_grpo", "rloo", "ppo", "dapo", "prime", "spo_chain", "spo_tree", "spae", "tppo")
CONTROLS = ("oracle", "no_reward")
CREDIT = {"prime": "PRIME", "spo_chain": "SPO-chain", "spo_tree": "SPO-tree", "spae": "SPAE", "tppo": "T-PPO"}
"""Methods that give credit to single tokens of a response."""


def get_config(variant: str = "") -> ConfigDict:
  """Twelve entries. `variant`: "4" or "16" operations in place of eight."""
  if variant not in HORIZONS:
    raise ValueError(f"no horizon {variant!r}: leave it out for eight operations, or take 4 or 16")
  horizon = HORIZONS[variant]
  return common.tuned_study(
    **horizon["study"],
    entries={name: _entry(name, horizon) for name in (*METHODS, *CONTROLS)},
    baseline="grpo",
    metrics=(ACCURACY, GREEDY, LENGTH, "value_correlation"),  # the last one: of critics, with the true values
    gates={"oracle": "oracle", "no_reward": "no_reward"},
    claims={
      **{
        f"{CREDIT[name]} is more accurate than GRPO over equal updates": above(name, "grpo", ACCURACY, "updates")
        for name in ("prime", "spo_chain", "spo_tree")
      },
      "SPAE's responses are shorter than GRPO's at equal accuracy": below("spae", "grpo", LENGTH, "accuracy")
      | common.OF_DIGITS,
      "DAPO is more accurate than GRPO over equal updates": above("dapo", "grpo", ACCURACY, "updates"),
      "T-PPO is more accurate than PPO over equal waiting": above("tppo", "ppo", ACCURACY, "sequential_tokens"),
      **{
        f"per token: {title} is more accurate than GRPO": above(name, "grpo", ACCURACY, "tokens")
        for name, title in CREDIT.items()
      },
    },
  )


def own_overrides(name: str, operations: int = 8) -> tuple[str, ...]:
  """A method's own overrides on chains with this number of operations."""
  # Half of the pretraining has to do for sixteen operations: the whole takes half an hour for six starts.
  pretraining = ("stages.critic.num_iterations=150",) if operations == 16 else ()
  own: dict[str, tuple[str, ...]] = {
    # The critic is pretrained, as in T-PPO; the two differ in windows, lambda and clips. It then trains at twice the
    # policy's rate: at five times, it forgot what it knew within five iterations.
    "ppo": ("method.critic_init_from=critic#critic", "method.critic_learning_rate=4e-4", *pretraining),
    # Its model learns before it scores, at ten times the policy's rate (the authors use one to two times, over many
    # more updates). From a start of 0.05 hardly any group of eight is within .2 to .8: one right answer is enough.
    "prime": (
      "method.prm_update=before",
      "method.prm_learning_rate=2e-3",
      "method.lowest_accuracy=0.1",
      "method.highest_accuracy=0.9",
    ),
    # A cut at every second uncertain token, which gives two in a response of eight steps. A cut at each of them has a
    # smaller area in an earlier tuning (0.118 against 0.138). Two passes over an iteration's rows, as the authors do.
    "spo_chain": ("method.interval=2", "method.completions_per_cut=4", "method.max_segments=None", "epochs=2"),
    # Segments of a third of the steps; four trees have as many leaves as the others have responses. Minibatches draw
    # single edges, as the authors' buffer does: in whole trees each optimiser step would see one prompt.
    "spo_tree": (
      "method.branching=(4, 4, 4)",
      f"method.segment_tokens={2 * round(operations / 3)}",
      f"prompts_per_iteration={4 if operations < 16 else 8}",
      "minibatches_of=rows",
    ),
    "spae": (f"method.max_steps={operations + 2}",),
    # Windows of at least three steps, not a multiple of a step; the critic's own value at the cut.
    "tppo": (
      "method.critic_learning_rate=4e-4",
      "method.window_tokens=7",
      "method.at_cut=next",
      "method.whiten=True",
      *pretraining,
    ),
  }
  return own.get(name, ())


def _entry(name: str, horizon: dict[str, Any]) -> dict[str, Any]:
  overrides = (*own_overrides(name, horizon["operations"]), *_cadence(name))
  return {"config": f"{name}:{horizon['variant']}", "overrides": overrides}


def _cadence(name: str) -> tuple[str, ...]:
  """About fifteen evaluations, nine at sixteen operations. Methods that spend the budget in few iterations are measured
  in more of them."""
  every = {"prime": 4, "spo_chain": 2, "spae": 4, "dapo": 4, "tppo": 25}.get(name, 8)
  return (f"logging.every_iterations={every}", f"evaluation.every_iterations={every}")
