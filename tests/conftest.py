"""Fixtures of all tests."""

from __future__ import annotations

import functools
import gc
import os
import signal
from pathlib import Path

import jax
import pytest

from tests import compilation

SIGNALS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
"""Handlers of signals, set because a shell that runs the tests in the background has SIGINT ignored."""

gc.set_threshold(100_000, 50, 50)  # traced programs stay: looking for garbage among them was a tenth of the time
os.environ["XLA_FLAGS"] = compilation.QUICK  # read when the first device is asked for
compilation.share_context()
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # tests leave nothing in the home of who runs them
  jax.config.update("jax_enable_compilation_cache", False)

OPTIMISED = ("kernels/logprobs", "test_expected_curve.py")
"""Tests of what a compiled program holds, and what trains for longer."""

LONG = (
  "test_expected_curve.py", "kernels/test_sharded.py", "training/", "test_", "methods/", "kernels/test_", "models/",
)  # fmt: skip
"""Files that come first, so that no long file is left for one process when the others are done."""


def module_of(path: Path) -> str:
  return path.relative_to(Path(__file__).parent).as_posix()


@functools.cache
def rank(path: Path) -> int:
  """A file's place in `LONG`, found once for all of its tests."""
  module = module_of(path)
  return next((place for place, long in enumerate(LONG) if module.startswith(long)), len(LONG))


def pytest_collection_modifyitems(items):
  items.sort(key=lambda item: rank(item.path))


@pytest.fixture(autouse=True)
def own_signals():
  """A program that is called in a test or a fixture leaves its signal handlers: no test begins with them."""
  for number, handler in SIGNALS.items():
    signal.signal(number, handler)


@pytest.fixture(scope="module", autouse=True)
def quick_compilation(request):
  """Leave most of the compiler's optimisations out. A test that reads compiled programs turns them on."""
  if module_of(request.path).startswith(OPTIMISED):
    yield
    return
  before = jax.config.read("jax_disable_most_optimizations")
  jax.config.update("jax_disable_most_optimizations", True)
  yield
  jax.config.update("jax_disable_most_optimizations", before)
