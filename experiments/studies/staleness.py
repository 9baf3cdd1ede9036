"""How far behind may the sampling policy be, and which correction helps?

Asynchronous trainers learn from responses of an older policy. Here `staleness` sets exactly how much older it is, in
iterations of four updates, on deceptive chains of four operations; the runs differ only in this number. `stale_k` is
GRPO with ratios to the policy that sampled, so PPO's clip bounds them. At the largest staleness it is compared with the
usual corrections (rl_jax/kernels/losses/off_policy.py); these take ratios to the policy before the update, and weight
or reject by the distance of that policy from the sampler. `trainer` has these ratios without a correction.

No paper is tested: the claims are that staleness costs accuracy, and that each correction recovers some of it. There is
no oracle, as the claims are not about credit. Every entry is tuned in the same way: over three learning rates, from
separate starts, on half of the budget. The best rate for a stale policy may be lower.

Command: python -m rl_jax.study staleness --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 296 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 120,000 tokens: fresh 0.941 ± 0.015, off_policy_mask 0.900 ± 0.022,
  sequence_tis 0.885 ± 0.046, stale_1 0.932 ± 0.022, stale_2 0.914 ± 0.021, stale_4 0.891 ± 0.016, stale_8 0.844 ±
  0.022; 6 seeds (results/staleness.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, above, below

BUDGET = 120_000
STALENESS = (1, 2, 4, 8)
MOST = STALENESS[-1]
CORRECTIONS = {
  "trainer": (),
  "token_tis": ("method.correction=token_tis",),
  "sequence_tis": ("method.correction=sequence_tis",),
  "sequence_mis": ("method.correction=sequence_mis",),
  "geometric_rs": ("method.correction=geometric_rs", "method.rejection_bounds=(0.9,1.1)"),
  "off_policy_mask": ("method.off_policy_threshold=0.1",),
}
"""Corrections by name, with bounds that suit a small policy: those of trainers assume a far smaller mismatch."""


def get_config() -> ConfigDict:
  """GRPO fresh and stale, corrections at the largest staleness, and no reward."""
  stale = {f"stale_{k}": (f"staleness={k}",) for k in STALENESS}
  corrected = {
    name: (f"staleness={MOST}", "method.old_logprobs=trainer", *overrides) for name, overrides in CORRECTIONS.items()
  }
  return common.tuned_study(
    token_budget=BUDGET,
    entries={
      name: {"config": "grpo:deceptive_4", "overrides": overrides}
      for name, overrides in {"fresh": (), **stale, **corrected}.items()
    }
    | {"no_reward": {"config": "no_reward:deceptive_4", "overrides": ()}},
    **common.SMALL,
    baseline="fresh",
    metrics=(ACCURACY, GREEDY, "kl_to_behaviour", "clip_fraction", "gradient_norm"),
    gates={"no_reward": "no_reward"},
    claims={
      **{
        f"a policy {k} iterations behind is less accurate over equal tokens": below(
          f"stale_{k}", "fresh", ACCURACY, "tokens"
        )
        for k in STALENESS
      },
      **{
        f"at {MOST} iterations {name} is more accurate than no correction": above(
          name, f"stale_{MOST}", ACCURACY, "tokens"
        )
        for name in CORRECTIONS
      },
    },
  )
