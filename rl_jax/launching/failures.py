"""Exceptions of a user's own code: one line in the terminal, the traceback in a file."""

from __future__ import annotations

import contextlib
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

from rl_jax.errors import UserError
from rl_jax.inputs.users_code import one_line, place_of, place_of_raise
from rl_jax.runs.directory import TRACEBACK, is_run_or_free

_RUNTIME = ("JaxRuntimeError", "XlaRuntimeError")
"""Names, as commands that need no JAX do not import it."""
_SMALLER = (
  "set rows_per_microbatch, model.remat=block or, for a task scored in Python, evaluation.prompts_at_a_time, take "
  "fewer num_seeds or prompts_per_iteration, or more devices (mesh)"
)


@contextlib.contextmanager
def of_users_code(workdir: Path | None = None) -> Iterator[None]:
  """Turn an exception that passes through a user's own file (config, method, task, model) into a UserError with its
  file and line, and save the traceback. This includes a UserError raised in that file, sys.exit, and running out of
  memory; Ctrl-C stays an interrupt.

  Args:
    workdir: the run's folder, for the traceback. None, or a folder with other contents: a temporary folder.
  """
  try:
    yield
  except KeyboardInterrupt:
    raise
  except UserError as error:
    place = place_of_raise(error)
    if place is None:
      raise
    raise UserError(f"{place}: {error} (traceback: {_kept(_traceback_of(error), workdir)})") from error
  except BaseException as error:  # users' code may raise anything; errors of this package alone keep their traceback
    if type(error).__name__ in _RUNTIME and "RESOURCE_EXHAUSTED" in str(error):
      raise UserError(f"out of memory ({_detail(error)}): {_SMALLER}") from error
    place = place_of(error)
    if place is None:
      raise
    raise UserError(f"{place}: {one_line(error)} (traceback: {_kept(_traceback_of(error), workdir)})") from error


def _detail(error: BaseException) -> str:
  """First line of an out-of-memory message, which has the requested size; tables may follow it."""
  return str(error).splitlines()[0].partition("RESOURCE_EXHAUSTED: ")[2][:200]


def _traceback_of(error: BaseException) -> str:
  return "".join(traceback.format_exception(error))


def _kept(text: str, workdir: Path | None) -> Path:
  try:
    if workdir is not None and is_run_or_free(workdir):
      file = workdir / TRACEBACK
      workdir.mkdir(parents=True, exist_ok=True)
      file.write_text(text)
      return file
  except OSError:  # a full disk, or a name too long: the line matters more than the traceback
    pass
  with tempfile.NamedTemporaryFile("w", prefix="rl_jax-", suffix=".txt", delete=False) as stream:
    stream.write(text)
  return Path(stream.name)
