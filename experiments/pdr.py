"""PDR on short chains that one pass solves half of the time (rl_jax/methods/pdr.py, arXiv 2510.01123).

Question: does training on refinement rounds pay when drafts are refined at inference?

Two operations; the demonstrations get most subtractions wrong, so that the likeliest response is wrong too. A workspace
shows two whole responses, which are as short as solutions. In a stage after the warm start the policy learns to read
workspaces, and to repeat one of the responses there half of the time (rl_jax/methods/refinement_start.py).

Variants: "trace" trains on plain responses alone, "continual" goes on from there with both halves.

Command: rl-jax train pdr --workdir=runs/pdr
Study: rl-jax study pdr --only=pdr --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 71 s.
Expected: held_out/sampled_accuracy after 200,000 tokens: pdr 0.958 ± 0.024; 6 seeds (results/pdr.json).
"""

from rl_jax.experiments import common

OWN = ("", "trace", "continual")
LEVELS = {"two": {"operations": 2, "operators": "+-", "modulus": 10}}


def reading() -> dict:
  """A stage: demonstrations that read a workspace of others, from the warm start."""
  return common.warm_start() | {
    "init_from": "warm_start",
    "method": {"name": "rl_jax.methods.refinement_start"},
    "seed": 4000,
    "num_iterations": 400,
    "prompts_per_iteration": 128,
    "learning_rate": 1e-3,
  }


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.pdr")
  config.stages.reading, config.init_from = reading(), "reading"
  config = common.variant(config, "deceptive_4" if variant in OWN else variant)
  if variant in OWN:
    config.task.levels, config.task.lure_rate = LEVELS, 0.55
  if variant == "smoke":
    config.stages.reading.update({"num_iterations": 40, "prompts_per_iteration": 64, "learning_rate": 1e-2})
    config.method.update({"drafts": 2, "inference": ((2,),), "oracles": False})
  elif variant == "trace":
    config.method.refined_share = 0.0
  elif variant == "continual":
    trace = {"method": {"name": config.method.name, "refined_share": 0.0}, "init_from": "reading"}
    config.stages.trace, config.init_from = common.tuned(config.method.name) | trace, "trace"
  return config
