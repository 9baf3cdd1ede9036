"""Warm start of refinement: demonstrations, some of which read a workspace of others.

Idea: a policy that has never seen a workspace cannot read one, and one that never gains from it does not learn to. Here
a share of the prompts shows one to k other demonstrations, and the response repeats one of them with probability
`copied`, whether it is right or wrong. PDR (pdr.py) starts from there.

  loss = - sum_t log pi(token t) / number of demonstrated tokens

Metrics: those of supervised.py. Config: the stage `reading` of experiments/pdr.py.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from rl_jax.curricula.uniform import uniform
from rl_jax.inputs.ranges import SHARE
from rl_jax.methods import _workspaces, supervised
from rl_jax.methods.method import Method
from rl_jax.rollouts.refinement import demonstrated
from rl_jax.tasks.task import Task


def get_config() -> dict[str, Any]:
  """Options of the workspace, as in the method that starts here."""
  return _workspaces.options() | {
    "refined_share": 0.5,  # of the prompts
    "copied": 0.5,  # share of demonstrations that repeat one that they read
  }


RANGES = _workspaces.RANGES | {"refined_share": SHARE, "copied": SHARE}


def build(config: ConfigDict, task: Task) -> Method:
  """Take `prompts_per_iteration` demonstrations, one per prompt."""
  operator, count = _workspaces.operator(config, task), _workspaces.refined_prompts(config)
  rollout = demonstrated(task, operator, refined_prompts=count, copied=config.method.copied)
  return Method(uniform(config.prompts_per_iteration, 1), rollout, supervised.signal, supervised.loss)
