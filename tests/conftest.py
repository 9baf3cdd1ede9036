"""What all tests share."""

from __future__ import annotations

import signal
from pathlib import Path

import jax
import pytest

QUICK = (
  "tasks/",
  "models/",
  "rollouts/",
  "methods/",
  "training/test_update.py",
  "training/test_iteration.py",
  "training/test_lora.py",
)
"""Tests of many small programs, each run a few times: they compile far more than they compute."""


@pytest.fixture(autouse=True)
def own_signals():
  """A program that is called in a test leaves its signal handlers; the next test has the ones before."""
  before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
  yield
  for number, handler in before.items():
    signal.signal(number, handler)


@pytest.fixture(scope="module", autouse=True)
def quick_compilation(request):
  """Leaves most of the compiler's optimisations out of `QUICK`; a test that reads compiled programs turns them on."""
  module = request.path.relative_to(Path(__file__).parent).as_posix()
  if not module.startswith(QUICK):
    yield
    return
  before = jax.config.read("jax_disable_most_optimizations")
  jax.config.update("jax_disable_most_optimizations", True)
  yield
  jax.config.update("jax_disable_most_optimizations", before)
