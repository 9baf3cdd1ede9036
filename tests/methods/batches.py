"""Trajectories made by hand, and configs of methods without a file."""

from __future__ import annotations

import types
from typing import Any

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments import common
from rl_jax import configs
from rl_jax.trajectories import Trajectories

RESPONSE_TOKENS = 6
TASK: Any = types.SimpleNamespace(response_tokens=RESPONSE_TOKENS, turns=None)
"""What a method's `build` reads of a task."""


def batch_of(loss_mask, **fields) -> Trajectories:
  """Rows with a loss mask [B, T], all scored, everything else 0 or as given."""
  rows, time = np.shape(loss_mask)
  zeros, ids = np.zeros((rows, time), np.float32), np.zeros((rows, time), np.int32)
  values = {
    "tokens": ids, "positions": ids + np.arange(time), "attention_mask": np.ones((rows, time), bool),
    "loss_mask": np.asarray(loss_mask, bool), "step_ids": ids - 1, "turn_ids": ids, "source_ids": ids,
    "group_ids": np.zeros(rows, np.int32), "prompt_ids": np.zeros(rows, np.int32), "row_mask": np.ones(rows, bool),
    "behaviour_logprobs": zeros, "old_logprobs": zeros, "ref_logprobs": zeros, "rewards": zeros[:, 0],
    "token_rewards": zeros, "reward_mask": np.ones(rows, bool), "truncated": np.zeros(rows, bool),
    "unfinished": np.zeros(rows, bool), "spent_tokens": np.zeros(rows, np.int32), "extras": {},
  } | fields  # fmt: skip
  extras = {name: jnp.asarray(value) for name, value in values.pop("extras").items()}
  return Trajectories(**{name: jnp.asarray(value) for name, value in values.items()}, extras=extras)


def config_of(method: Any, rows: int = 4, **options: Any) -> ConfigDict:
  """The resolved config of a method by name or object: two completions per prompt, `rows` in one minibatch."""
  config = common.base()
  config.prompts_per_iteration, config.completions_per_prompt = rows // 2, 2
  name = f"rl_jax.methods.{method}" if isinstance(method, str) else method
  return configs.resolve_config(config, {"method.name": name, **{f"method.{k}": v for k, v in options.items()}})
