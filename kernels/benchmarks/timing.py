"""Seconds of a call, and the rate at which this machine streams memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def seconds(run: Callable[[], Any], repeats: int) -> float:
  """Median seconds of a call that has been made once before, until its results are there.

  >>> seconds(lambda: jnp.ones(3), repeats=3) > 0
  True
  """
  jax.block_until_ready(run())
  taken = []
  for _ in range(repeats):
    started = time.perf_counter()
    jax.block_until_ready(run())
    taken.append(time.perf_counter() - started)
  return statistics.median(taken)


def stream_rate(shape: tuple[int, ...], repeats: int) -> float:
  """Bytes per second of the plainest work on arrays of a shape: two are read, one is written.

  >>> stream_rate((8, 8), repeats=3) > 0
  True
  """
  a, b = jnp.ones(shape), jnp.zeros(shape)
  add = jax.jit(jnp.add)
  return 3 * a.nbytes / seconds(lambda: add(a, b), repeats)
