"""Immediate response to Ctrl-C in the commands of rl_jax, also while modules are imported or XLA compiles.

Python runs a signal handler in the main thread, between two of its own instructions. During compilation that can be a
minute later, and two signals become one. Here a thread reads each signal as it arrives. Importing `rl_jax` starts the
thread only in a command of rl_jax; any other program keeps its handlers.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

Answer = Callable[[signal.Signals], str]
"""Notes the first signal; returns the message to print."""


def command_name(argv: Sequence[str], orig_argv: Sequence[str]) -> str:
  """Command of rl_jax that this process runs, "" if none, by `sys.argv` and `sys.orig_argv` during the import.

  >>> command_name(["-m"], ["python", "-m", "rl_jax.train", "grpo"])
  'rl_jax.train'
  >>> command_name(["/usr/bin/rl-jax"], ["python", "/usr/bin/rl-jax", "train"])
  'rl-jax'
  >>> command_name(["-m"], ["python", "-m", "another.program"])
  ''
  """
  if os.path.basename(argv[0]) == "rl-jax":
    return "rl-jax"
  if argv[0] != "-m":  # set by runpy until it has found the module
    return ""
  names = (re.fullmatch(r"(?:-m)?(rl_jax(?:\.[a-z]+)?)", argument) for argument in orig_argv)
  return next((match[1] for match in names if match), "")


class _Watch:
  """Thread that answers signals."""

  def __init__(self, name: str) -> None:
    self.name = name
    self.answer: Answer | None = None
    self.last_words: Callable[[], str] = lambda: "ended by Ctrl-C"
    self.answered = False
    self._reader, self._writer = socket.socketpair()
    self._writer.setblocking(False)
    signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
    # A forked child shares the sockets: its signals are not ours.
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    threading.Thread(target=self._read, name="signals", daemon=True).start()

  def _read(self) -> None:
    while received := self._reader.recv(1):
      number = received[0]
      if number in SAVED_AT:
        self._signalled(signal.Signals(number))

  def _signalled(self, number: signal.Signals) -> None:
    if self.answer is not None and not self.answered:
      self.answered = True
      say(self.answer(number))
    else:
      self._end(number)

  def _end(self, number: signal.Signals) -> NoReturn:
    """End the process without unwinding: an exception during an import, or while XLA's threads run, would crash it."""
    with contextlib.suppress(OSError):  # the folder may vanish at this moment
      say(f"{self.name}: {self.last_words()}")
    with contextlib.suppress(OSError):
      os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # other threads still run: this line is the last
    # Not `gc.get_objects`, which would hold tuples that another thread is building.
    for temporary in gc.get_referrers(tempfile.TemporaryDirectory):
      if type(temporary) is tempfile.TemporaryDirectory:
        with contextlib.suppress(OSError):
          temporary.cleanup()
    leave(128 + number)


SAVED_AT = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, the signal of schedulers, and the end of a terminal or ssh session."""

_watch: _Watch | None = None


def watch_command() -> None:
  """Start the thread, if this process is a command of ours that Ctrl-C is meant for."""
  global _watch
  name = command_name(sys.argv, sys.orig_argv)
  usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
  if name and usual and threading.current_thread() is threading.main_thread():
    _watch = _Watch(name)
    signal.signal(signal.SIGINT, _left_to_the_thread)


def named(name: str) -> None:
  """Set the name of the command that continues in this process, for the beginning of its lines."""
  if _watch is not None:
    _watch.name = name


def listen(answer: Answer, last_words: Callable[[], str]) -> None:
  """Answer the first signal of `SAVED_AT` from now on, and end the process at once at the second.

  A signal that the process was told to ignore stays ignored, except Ctrl-C: `nohup` protects a run from the end of its
  terminal. In a program that is not a command of rl_jax the handlers are Python's, and the second signal raises
  KeyboardInterrupt.

  Args:
    last_words: returns the text to print at the second signal.
  """
  if _watch is not None:
    _watch.answer, _watch.last_words = answer, last_words
    handler: Callable[[int, FrameType | None], None] = _left_to_the_thread
  else:
    handler = _in_main_thread(answer)
  for number in SAVED_AT:
    if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) is not signal.SIG_IGN:
      signal.signal(number, handler)


def _in_main_thread(answer: Answer) -> Callable[[int, FrameType | None], None]:
  noted: list[int] = []

  def handler(number: int, frame: FrameType | None) -> None:
    noted.append(number)
    if len(noted) > 1:
      raise KeyboardInterrupt
    answer(signal.Signals(number))

  return handler


def _left_to_the_thread(number: int, frame: FrameType | None) -> None:
  """Empty handler: without one the thread is not woken by the signal."""


def say(text: str) -> None:
  """Write a line to stderr, below a line that is being redrawn; do nothing if the terminal is gone."""
  with contextlib.suppress(OSError):
    start = "\n" if os.isatty(2) else ""
    os.write(2, f"{start}{text}\n".encode(errors="backslashreplace"))


def leave(status: int) -> NoReturn:
  """End this process at once, after flushing its output."""
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(OSError, ValueError, RuntimeError):
      stream.flush()
  os._exit(status)
