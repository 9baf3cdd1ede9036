"""PDR on short chains that one pass solves half of the time (rl_jax/methods/pdr.py, arXiv 2510.01123).

Question: does training on refinement rounds pay when drafts are refined at inference?

Three operations, of which the demonstrations get four of ten subtractions wrong. A workspace shows two whole responses,
which are as short as solutions. The start has read workspaces, and repeats one of the responses there half of the time.

Variants: "trace" trains on plain responses alone, "continual" goes on from there with both halves.

Command: rl-jax train pdr --workdir=runs/pdr
Expected: no result yet.
"""

from rl_jax.experiments import common

OWN = ("", "trace", "continual")
LEVELS = {"three": {"operations": 3, "operators": "+-", "modulus": 10}}


def get_config(variant: str = ""):
  config = common.variant(common.policy_gradient("rl_jax.methods.pdr"), "deceptive_4" if variant in OWN else variant)
  if variant in OWN:
    config.task.update({"levels": LEVELS, "lure_rate": 0.4})
  start = config.stages.warm_start
  start.method = {"name": "rl_jax.methods.refinement_start"}
  if variant == "smoke":
    config.method.update({"drafts": 2, "inference": ((2,),), "oracles": False})
  elif variant == "trace":
    config.method.refined_share = 0.0
  elif variant == "continual":
    config.stages.trace = common.tuned("rl_jax.methods.pdr") | {
      "method": {"name": "rl_jax.methods.pdr", "refined_share": 0.0}
    }
    config.init_from = "trace"
  return config
