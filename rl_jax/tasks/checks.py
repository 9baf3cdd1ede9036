"""What a task's functions have to give: checked where they are called, so that a user's own task gets a line."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from rl_jax.errors import UserError
from rl_jax.inputs.users_code import place_of_function
from rl_jax.tasks.task import Prompts, Verdicts


def checked_prompts(prompts: Any, task: Any, ids: Any) -> Prompts:
  """The prompts that `task.prompts` gave for ids. Raises: UserError: they are none, or of other shapes."""
  rows = jnp.shape(ids)[-1]
  arrays = {"tokens": (rows, task.prompt_tokens), "mask": (rows, task.prompt_tokens), "ids": (rows,), "levels": (rows,)}
  _check(prompts, Prompts, arrays, f"prompts ({place_of_function(task.prompts)})")
  return prompts


def checked_verdicts(verdicts: Any, task: Any, responses: tuple[int, ...]) -> Verdicts:
  """The verdicts that `task.verify` gave. Raises: UserError: they are none, or of other shapes.

  Args:
    responses: shape [B, R] of what it was asked about.
  """
  rows = responses[:1]
  arrays = {"rewards": rows, "reward_mask": rows, "step_ids": responses}
  _check(verdicts, Verdicts, arrays, f"verify ({place_of_function(task.verify)})")
  return verdicts


def _check(result: Any, kind: type, arrays: dict[str, tuple[int, ...]], where: str) -> None:
  if not isinstance(result, kind):
    raise UserError(f"{where} gave {result if result is None else f'a {type(result).__name__}'}, want {kind.__name__}")
  for name, shape in arrays.items():
    array = getattr(result, name)
    if not hasattr(array, "dtype") or jnp.shape(array) != shape:
      got = f"of shape {jnp.shape(array)}" if hasattr(array, "dtype") else repr(array)
      raise UserError(f"{where}: {name} are {got}, want an array of shape {shape}")
