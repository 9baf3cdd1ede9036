"""PAV on a planted sequence, the paper's didactic task (rl_jax/methods/pav.py, rl_jax/tasks/planted.py,
arXiv 2410.08146).

Question: does progress under a prover find a target that a rare outcome does not?

The start has learned from as many demonstrations as in the paper, by a policy that finds the target once in 185 times.
Progress is exact, under a prover of gamma 10. The stages `prover` and `verifier` are models for the method's other
provers: `method.prover` "samples" with `method.prover_init_from` "prover#policy", and "verifier" with
"verifier#verifier". The variants "easy" and "hard" plant three words and seven; "smoke" has three words in all.

Command: rl-jax train pav --workdir=runs/pav
Study: rl-jax study pav --only=prover_10 --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 17 s.
Expected: held_out/sampled_accuracy after 60,000 tokens: prover_10 0.989 ± 0.004; 6 seeds (results/pav.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments import common

TARGETS = {"easy": "360", "hard": "3603512"}
"""Easiest and hardest setting of the task."""


def on_planted(method: str, variant: str) -> ConfigDict:
  """A method on the task, from a warm start of 50 batches of 64 demonstrations."""
  config = common.policy_gradient(method)
  config.task = {"name": "rl_jax.tasks.planted"}
  config.num_iterations = 350
  config.prompts_per_iteration = 8
  config.learning_rate = 1e-3
  config.stages.warm_start.update({"num_iterations": 50, "prompts_per_iteration": 64})
  # With more demonstrations a model succeeds as often as they do; 15 is the strongest prover that helped in the paper.
  config.stages.prover = common.warm_start() | {"seed": 1001, "task": {"gamma": 15.0, "lure": 1.0}}
  config.stages.verifier = common.critic() | {
    "init_from": "prover",
    "method": {"name": "rl_jax.methods.verifier_training"},
    "seed": 4000,
    "prompts_per_iteration": 32,
  }
  if variant in TARGETS:
    config.task.target = TARGETS[variant]
    return config
  config = common.variant(config, variant)
  if variant == "smoke":
    config.task.update({"target": "012", "words": 3, "response_tokens": 6})
  return config


def get_config(variant: str = ""):
  config = on_planted("rl_jax.methods.pav", variant)
  config.method.update({"prover": "truth", "alpha": 1.0})
  return config
