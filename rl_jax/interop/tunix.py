"""Estimators in the registry of tunix (google-tunix); a config selects one by `advantage_estimator="rl_jax.maxrl"`.

tunix calls an estimator as (rewards [B], num_generations) -> advantages [B], with the responses to a prompt side by
side; some versions add `valid_mask`. Its config checks the name, so call `register` first. Written against the public
interface of `tunix.rl.function_registry` of 2026, which is imported when something is registered.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from rl_jax.errors import UserError
from rl_jax.interop.arrays import group_estimator
from rl_jax.kernels import advantages

PREFIX = "rl_jax."
"""Prefix of the names, so that they never replace tunix's own estimators."""
ESTIMATORS: Mapping[str, Callable[..., Any]] = {
  kernel.__name__: kernel
  for kernel in (
    advantages.grpo,
    advantages.dr_grpo,
    advantages.rloo,
    advantages.maxrl,
    advantages.gpg,
    advantages.pass_at_k,
    advantages.a_grae,
  )
}
"""Kernels that need only rewards [B], by name."""


def register(registry: Any = None) -> list[str]:
  """Register all of `ESTIMATORS` with their default options; return their names in tunix.

  Args:
    registry: module with `register_advantage_estimator`; None: tunix.rl.function_registry.

  Raises: UserError: tunix is not installed.
  """
  return [register_estimator(name, kernel, registry=registry) for name, kernel in ESTIMATORS.items()]


def register_estimator(name: str, kernel: Callable[..., Any], *, registry: Any = None, **options: Any) -> str:
  """Register one kernel with the given options; return its name in tunix, which begins with `PREFIX`.

  Args:
    kernel: (rewards [B], group_ids [B], mask [B]) -> advantages [B].
    registry: see `register`.

  Raises: UserError: tunix is not installed.
  """
  if registry is None:
    try:
      registry = importlib.import_module("tunix.rl.function_registry")
    except ModuleNotFoundError as error:
      raise UserError(f"no package {error.name!r}: install tunix with pip install google-tunix") from error
  registry.register_advantage_estimator(PREFIX + name)(group_estimator(kernel, device=None, **options))
  return PREFIX + name
