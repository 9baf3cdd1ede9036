"""Functions of a task as programs: quicker to make than one program for each of their operations."""

from __future__ import annotations

import dataclasses

import jax

from rl_jax.tasks.task import Task


def jitted(task: Task, *names: str) -> Task:
  """The task, with each of these functions as one program for all calls with the same shapes."""
  static = {"prompts": 1}  # the split
  programs = {name: jax.jit(getattr(task, name), static_argnums=static.get(name, ())) for name in names}
  return dataclasses.replace(task, **programs)
