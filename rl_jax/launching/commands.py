"""Exit of commands: an exit status, and one line on stderr for a user's error."""

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
"""Errors of a disk that takes no more."""

Main = Callable[[list[str]], int]
"""Arguments after the program's name -> exit status."""


def command(name: str) -> Callable[[Main], Callable[..., int]]:
  """Decorate the `main` of a command.

  A UserError, or an exception of a user's own code, becomes the line "name: message" and status 1; Ctrl-C, where
  nothing is to be saved, a line and the status of SIGINT; a reader that has gone the status of SIGPIPE.

  Args:
    name: as the lines begin, "rl_jax.train".
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
      except BrokenPipeError:  # as of `| head`
        _give_up_output()
        return 128 + signal.SIGPIPE
      except OSError as error:
        if error.errno not in _FULL or error.filename is not None:  # of a file that has no line of its own yet
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
  """Flush printed output at the end, also after --help, which ends the program, so that faults appear here."""
  try:
    yield
  finally:
    sys.stdout.flush()


def _give_up_output() -> None:
  """Discard the output that is flushed at the end."""
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say_error(name: str, error: UserError) -> None:
  """Print the line of an error."""
  print(f"{name}: {error}", file=sys.stderr)
