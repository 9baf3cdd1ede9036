"""How commands end: with an exit status, and where something is wrong with one line on stderr."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Sequence

from rl_jax.errors import UserError
from rl_jax.launching.failures import of_users_code
from rl_jax.launching.memory import keep_freed_memory

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
      keep_freed_memory()
      try:
        with of_users_code():
          status = main(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
      except UserError as error:
        say_error(name, error)
        return 1
      except BrokenPipeError:  # as of `| head`; what is left to be flushed at the end goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
      except KeyboardInterrupt:
        print(f"\n{name}: ended by Ctrl-C", file=sys.stderr)
        return 128 + signal.SIGINT

    return run

  return decorate


def say_error(name: str, error: UserError) -> None:
  """Print the line of an error."""
  print(f"{name}: {error}", file=sys.stderr)
