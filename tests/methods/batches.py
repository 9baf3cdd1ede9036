"""Trajectories made by hand, and configs of methods without a file."""

from __future__ import annotations

import types
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from rl_jax.configuration import configs
from rl_jax.experiments import common
from rl_jax.trajectories import Trajectories

RESPONSE_TOKENS = 6
TASK: Any = types.SimpleNamespace(
  on_device=True, response_tokens=RESPONSE_TOKENS, turns=None, marks_steps=True, step_values=None
)
"""Fields of a task that a method's `build` reads."""

empty = jax.jit(Trajectories.empty, static_argnums=(0, 1, 2))
"""As one program for each shape: quicker to make than one for each type of its arrays."""


def batch_of(loss_mask, *, prompt_width: int = 0, **fields) -> Trajectories:
  """Rows with a loss mask [B, T], all scored, everything else 0 or as given."""
  rows, time = np.shape(loss_mask)
  every = np.ones(rows, bool)
  values = {
    "positions": np.tile(np.arange(time, dtype=np.int32), (rows, 1)), "attention_mask": np.ones((rows, time), bool),
    "loss_mask": np.asarray(loss_mask, bool), "row_mask": every, "verified": every, "reward_mask": every,
  } | fields  # fmt: skip
  on_device = lambda fields: jax.device_put({name: np.asarray(value) for name, value in fields.items()})
  extras, arrays = on_device(values.pop("extras", {})), on_device(values)
  return empty(rows, time, prompt_width).replace(**arrays, extras=extras)


def config_of(method: Any, rows: int = 4, **options: Any) -> ConfigDict:
  """The resolved config of a method by name or object: two completions per prompt, `rows` in one minibatch."""
  config = common.base()
  config.prompts_per_iteration, config.completions_per_prompt = rows // 2, 2
  name = f"rl_jax.methods.{method}" if isinstance(method, str) else method
  return configs.resolve_config(config, {"method.name": name, **{f"method.{k}": v for k, v in options.items()}})
