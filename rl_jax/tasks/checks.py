"""Checks of the results of a task's functions, with clear messages for users' tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from rl_jax.errors import UserError
from rl_jax.inputs.arrays import is_real
from rl_jax.inputs.users_code import place_of_function
from rl_jax.tasks.task import Prompts, Verdicts

_REAL, _WHOLE = "real", "whole"


def checked_prompts(prompts: Any, task: Any, ids: Any) -> Prompts:
  """Prompts of a task for ids. Raises: UserError: the result is not Prompts, or has wrong shapes."""
  rows = jnp.shape(ids)[-1]
  tokens = rows, task.prompt_tokens
  arrays = {"tokens": (tokens, _WHOLE), "mask": (tokens, _REAL), "ids": ((rows,), _WHOLE), "levels": ((rows,), _WHOLE)}
  where = f"prompts ({place_of_function(task.prompts)})"
  _check(prompts, Prompts, arrays, where)
  _check_names(prompts.metadata, f"{where}: metadata")
  return prompts


def checked_verdicts(verdicts: Any, task: Any, responses: tuple[int, ...]) -> Verdicts:
  """Verdicts of a task. Raises: UserError: the result is not Verdicts, or has wrong shapes.

  Args:
    responses: shape [B, R] of the verified responses.
  """
  rows = responses[:1]
  arrays = {"rewards": (rows, _REAL), "reward_mask": (rows, _REAL), "step_ids": (responses, _WHOLE)}
  if getattr(verdicts, "token_rewards", None) is not None:
    arrays["token_rewards"] = (responses, _REAL)
  where = f"verify ({place_of_function(task.verify)})"
  _check(verdicts, Verdicts, arrays, where)
  _check_names(verdicts.extras, f"{where}: extras")
  return verdicts


def _check_names(arrays: Any, where: str) -> None:
  names = list(arrays) if isinstance(arrays, Mapping) else arrays
  if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
    raise UserError(f"{where} are by {names!r:.80}, want a dict by names that are text")


def _check(result: Any, kind: type, arrays: Mapping[str, tuple[tuple[int, ...], str]], where: str) -> None:
  """Args: arrays: shape, and `_REAL` or `_WHOLE`, by the name of the field."""
  if not isinstance(result, kind):
    raise UserError(f"{where} gave {result if result is None else f'a {type(result).__name__}'}, want {kind.__name__}")
  for name, (shape, numbers) in arrays.items():
    array = getattr(result, name)
    if not hasattr(array, "dtype") or jnp.shape(array) != shape:
      got = f"of shape {jnp.shape(array)}" if hasattr(array, "dtype") else repr(array)
      raise UserError(f"{where}: {name} are {got}, want an array of shape {shape}")
    if not (is_real(array) if numbers == _REAL else jnp.issubdtype(array.dtype, jnp.integer)):
      raise UserError(f"{where}: {name} have dtype {array.dtype}, want {numbers} numbers")
