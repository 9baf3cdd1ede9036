"""One run in several processes: joining, agreeing on signals, and ending when a process is lost.

Every process is started with the same command. On Slurm, Kubernetes and TPU slices JAX finds the others itself
(--distributed); elsewhere each gets the address of the first one (--coordinator, --num_processes, --process_id).
Process 0 keeps the record of the run. All processes train, verify their share of the rows and write their part of a
checkpoint, so --workdir must be on a shared file system.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from rl_jax.errors import UserError
from rl_jax.launching import interrupts
from rl_jax.launching.commands import say_error

LOST_SECONDS = 60
"""Seconds without a heartbeat after which a process counts as lost and the others end."""


def add_flags(parser: argparse.ArgumentParser) -> None:
  """The flags of `join`."""
  parser.add_argument("--distributed", action="store_true", help="one of several processes, found through the cluster")
  parser.add_argument("--coordinator", metavar="HOST:PORT", help="one of several processes: address of process 0")
  parser.add_argument("--num_processes", metavar="N", type=int, help="number of processes, with --coordinator")
  parser.add_argument("--process_id", metavar="I", type=int, help="rank of this process, from 0, with --coordinator")


def join(options: argparse.Namespace) -> None:
  """Join the other processes of the run, if the flags name any. Call this before anything else uses devices.

  Raises: UserError: flags that do not go together, no cluster is found, or the others do not connect in time.
  """
  explicit = (options.coordinator, options.num_processes, options.process_id)
  if any(x is not None for x in explicit):
    if options.distributed or any(x is None for x in explicit):
      raise UserError("--coordinator, --num_processes and --process_id go together, and without --distributed")
    if not 0 <= options.process_id < options.num_processes:
      raise UserError(f"--process_id={options.process_id} is not one of --num_processes={options.num_processes}")
  elif not options.distributed:
    return
  jax.config.update("jax_enable_preemption_service", False)  # it would intercept SIGTERM before `rl_jax.launching.stop`
  try:
    jax.distributed.initialize(*explicit, heartbeat_timeout_seconds=LOST_SECONDS, shutdown_timeout_seconds=LOST_SECONDS)
  except (ValueError, RuntimeError) as error:
    reason = str(error).splitlines()[0]
    raise UserError(
      f"could not join the other processes ({reason}): start all of them, and outside Slurm, Kubernetes and TPU slices "
      "say --coordinator=HOST:PORT --num_processes=N --process_id=I"
    ) from error


def several() -> bool:
  """Return whether the run has several processes."""
  return jax.distributed.is_initialized() and jax.process_count() > 1


def first() -> bool:
  """Return whether this process keeps the record, as a single process does."""
  return not several() or jax.process_index() == 0


def largest(number: int) -> int:
  """Maximum of a number over processes; all of them call this at the same point."""
  return int(np.max(multihost_utils.process_allgather(np.int32(number)))) if several() else number


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
  """Temporary folder, used in place of the run's by all processes but the first."""
  with tempfile.TemporaryDirectory(prefix="rl_jax-") as folder:
    yield Path(folder)


@contextlib.contextmanager
def ending_together(then: Callable[[], str]) -> Iterator[None]:
  """End this process at once when an operation across processes fails, as it does after another process has ended.

  A regular exit would wait long for the others, for example in a checkpoint that is being written.

  Args:
    then: returns the text on what is saved and how to resume.
  """
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if not several():
      raise
    reason = str(error).splitlines()[0][:200]
    print(f"\nprocess {jax.process_index()} of {jax.process_count()}: another process was lost ({reason}): {then()}",
          file=sys.stderr)  # fmt: skip
    leave(1)


@contextlib.contextmanager
def leaving(name: str) -> Iterator[None]:
  """End this process at once with the line of an error, if other processes would wait for it.

  Args:
    name: name of the command.
  """
  try:
    yield
  except UserError as error:
    if several():
      say_error(name, error)
      leave(1)
    raise


def leave(status: int) -> NoReturn:
  """End this process without waiting for the others, which then end too."""
  interrupts.leave(status)
