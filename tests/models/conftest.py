"""Many small programs, each run a few times."""

from __future__ import annotations

import jax
import pytest


@pytest.fixture(scope="package", autouse=True)
def quick_compilation():
  """These tests compile far more than they compute."""
  before = jax.config.read("jax_disable_most_optimizations")
  jax.config.update("jax_disable_most_optimizations", True)
  yield
  jax.config.update("jax_disable_most_optimizations", before)
