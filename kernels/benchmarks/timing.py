"""Seconds of a call, and the rates at which this machine reads and streams memory."""

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
  times = []
  for _ in range(repeats):
    started = time.perf_counter()
    jax.block_until_ready(run())
    times.append(time.perf_counter() - started)
  return statistics.median(times)


def stream_rate(shape: tuple[int, ...], repeats: int) -> float:
  """Bytes per second of the plainest work on arrays of a shape: two are read, one is written.

  >>> stream_rate((8, 8), repeats=3) > 0
  True
  """
  a, b = jnp.ones(shape), jnp.zeros(shape)
  add = jax.jit(jnp.add)
  return 3 * a.nbytes / seconds(lambda: add(a, b), repeats)


def read_rate(width: int, repeats: int) -> float:
  """Bytes per second of a square matrix of this width read once, for its product with a vector.

  >>> read_rate(8, repeats=3) > 0
  True
  """
  matrix, vector = jnp.ones((width, width)), jnp.ones(width)
  product = jax.jit(jnp.matmul)
  return matrix.nbytes / seconds(lambda: product(matrix, vector), repeats)
