"""The one error of this package: a line for the person at the terminal."""

from __future__ import annotations


class RunError(Exception):
  """One line that says what was got and what to do. Entry points print it and exit with status 1."""
