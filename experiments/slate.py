"""SLATE on independent decisions, one per turn (rl_jax/methods/slate.py,
rl_jax/tasks/environments/decisions.py, arXiv 2602.23440).

Question: does a policy learn faster from candidates of one step with a shared prefix than from whole episodes?

Every decision earns its reward at once, and no decision affects another: the reward of a step is its full value. With
task.bait above 1 it is not: the bait pays at once but costs more later. The variants are those of grpo_decisions.

Command: rl-jax train slate --workdir=runs/slate
Study: rl-jax study slate --only=slate_4 --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 42 s.
Expected: held_out/reward after 40,000 tokens: slate_4 0.851 ± 0.091; 6 seeds (results/slate.json).
"""

from rl_jax.experiments import grpo_decisions


def get_config(variant: str = ""):
  return grpo_decisions.deciding("rl_jax.methods.slate", variant)
