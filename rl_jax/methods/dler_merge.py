"""DLER's merge: the largest updates of a tuned policy, added to its base weights (arXiv 2510.15110).

Idea: accuracy lost while answers became shorter comes back if small changes of weights are undone and large ones are
shrunk. delta is the change by tuning, M the quarter of entries with the largest |delta| (section 4)

  theta = theta_base + 0.7 M delta,  delta = theta_tuned - theta_base

The tuned policy is the config's `init_from`, the base `base_init_from`. A run starts from theta, evaluates it and
continues as DLER (methods/dler.py), towards theta where it has a KL term; `rl-jax evaluate` of the experiment measures
theta alone. With `keep` 1 and `scale` 1 theta is the tuned policy. In the paper an 8B policy has 66.4 on AIME24
before DLER, 63.5 after, and 66.7 merged, with about half of the tokens. Inferred: one threshold for all arrays
together (`scope` "global"; or "per_tensor"), rounding and ties. Adapters (LoRA) are merged into the matrices of both
before.

Metrics: those of dler.py. Config: experiments/dler_merge.py.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import NOT_NEGATIVE, Range
from rl_jax.kernels.analysis.merging import update_selective_merge
from rl_jax.methods import dler
from rl_jax.methods.method import Method, ModelRole, one_of
from rl_jax.models import lora
from rl_jax.models.model import Params
from rl_jax.tasks.task import Task


def get_config() -> dict[str, Any]:
  """DLER, and the paper's merge."""
  return dler.get_config() | {
    "base_init_from": "warm_start",  # stage or folder of the run that the policy was tuned from
    "keep": 0.25,  # share of entries with the largest change
    "scale": 0.7,  # factor of their change
    "scope": "global",  # one threshold for all arrays; or "per_tensor"
  }


RANGES = dler.RANGES | {"keep": Range(0, 1, above=True), "scale": NOT_NEGATIVE}


def build(config: ConfigDict, task: Task) -> Method:
  """DLER from merged weights."""
  m = config.method
  one_of(m, "scope", ("global", "per_tensor"))
  method = dler.build(config, task)

  def initial(params: dict[str, Params]) -> dict[str, Params]:
    base, tuned = (lora.without(params[name]) for name in ("base", "policy"))
    merged = update_selective_merge(base, tuned, keep=m.keep, scale=m.scale, scope=m.scope)
    merged = jax.tree.map(lambda new, old: new.astype(old.dtype), merged, tuned)
    return {name: own if name == "base" else lora.onto(merged, own) for name, own in params.items()}

  models = {**method.models, "base": ModelRole(trained=False, init_from=m.base_init_from)}
  return dataclasses.replace(method, models=models, initial=initial, papers=("2510.15110",))
