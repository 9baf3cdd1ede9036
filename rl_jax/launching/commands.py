"""Exit status of commands, and the line on stderr for a user's error."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

from rl_jax.errors import UserError
from rl_jax.launching import interrupts
from rl_jax.launching.failures import of_users_code
from rl_jax.launching.memory import keep_freed_memory

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of a full disk."""

Main = Callable[[list[str]], int]
"""Arguments after the program's name -> exit status."""


def command(name: str) -> Callable[[Main], Callable[..., int]]:
  """Decorate the `main` of a command.

  A UserError, or an exception of a user's own code, becomes the line "name: message" and status 1. Ctrl-C, if there is
  nothing to save, becomes a line and the status of SIGINT; a closed pipe becomes the status of SIGPIPE.

  Args:
    name: beginning of these lines, "rl_jax.train".
  """

  def decorate(main: Main) -> Callable[..., int]:
    @functools.wraps(main)
    def run(argv: Sequence[str] | None = None) -> int:
      interrupts.named(name)
      keep_freed_memory()
      try:
        with _flushed_output(), of_users_code():
          return main(list(sys.argv[1:] if argv is None else argv))
      except UserError as error:
        say_error(name, error)
        return 1
      except BrokenPipeError:  # for example of `| head`
        _give_up_output()
        return 128 + signal.SIGPIPE
      except OSError as error:
        if error.errno not in _FULL or error.filename is not None:  # of a file whose failure is not reported elsewhere
          raise
        _give_up_output()
        say_error(name, UserError(f"cannot write the output: {error.strerror}"))
        return 1
      except KeyboardInterrupt:
        print(f"\n{name}: ended by Ctrl-C", file=sys.stderr)
        return 128 + signal.SIGINT

    return run

  return decorate


@contextlib.contextmanager
def _flushed_output() -> Iterator[None]:
  """Flush the output even after --help, which ends the program, so that errors of writing appear here."""
  try:
    yield
  finally:
    sys.stdout.flush()


def _give_up_output() -> None:
  """Discard output that would be flushed at exit."""
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say_error(name: str, error: UserError) -> None:
  """Print the line of an error."""
  print(f"{name}: {error}", file=sys.stderr)
