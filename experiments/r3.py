"""R3 on a pool of chains that are rarely solved and often cut (rl_jax/methods/r3.py, arXiv 2601.19620).

Question: do past outcomes, reflection and a ranking of cut responses give a signal to groups that have none?

A pool of 256 chains, each visited about twenty times. The demonstrations write most steps twice and have room for that;
responses have less room, so many are cut at first.

Command: rl-jax train r3 --workdir=runs/r3
Study: rl-jax study r3 --only=r3 --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 45 s.
Expected: held_out/sampled_accuracy after 200,000 tokens: r3 0.000 ± 0.001; 6 seeds (results/r3.json).
"""

from rl_jax.experiments import common

POOL = 256


def get_config(variant: str = ""):
  config = on_a_pool("rl_jax.methods.r3", variant)
  config.method.update({"pool": config.task.pool_size, "reflected_prompts": 4, "instruction": "="})
  return config


def on_a_pool(method: str, variant: str):
  """A method on the task, from a warm start whose responses exceed the limit."""
  config = common.variant(common.policy_gradient(method), variant or "deceptive_4")
  config.task.pool_size = POOL
  if variant == "":
    config.num_iterations = 300
    config.task.update({"lure_rate": 0.9, "recheck_rate": common.VERBOSE["recheck_rate"], "spare_tokens": 2})
    config.stages.warm_start.task = {"pool_size": 0, "spare_tokens": common.VERBOSE["spare_tokens"]}
  elif variant == "smoke":
    config.task.pool_size = 8
  return config
