"""SLATE on independent decisions, each of which is a turn (rl_jax/methods/slate.py,
rl_jax/tasks/environments/decisions.py, arXiv 2602.23440).

Question: do candidates of one step from a shared prefix learn sooner than whole episodes?

Every decision earns its reward at once, and no decision changes another: the reward of a step is its whole worth. With
task.bait above 1 it is not, and what is good at once costs more later on. The variants are those of grpo_decisions.

Command: rl-jax train slate --workdir=runs/slate
Study: rl-jax study slate --only=slate_4 --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 42 s.
Expected: held_out/reward after 40,000 tokens: slate_4 0.851 ± 0.091; 6 seeds (results/slate.json).
"""

from rl_jax.experiments import grpo_decisions


def get_config(variant: str = ""):
  return grpo_decisions.deciding("rl_jax.methods.slate", variant)
