"""The one error of this package: a line for the person at the terminal."""

from __future__ import annotations

from rl_jax.runs.visible import visible


class RunError(Exception):
  """One line that says what was got and what to do. Entry points print it and exit with status 1.

  Names of metrics, levels and folders are in it: what would steer a terminal is shown as an escape.
  """

  def __init__(self, message: str = ""):
    super().__init__(visible(message, keep=""))
