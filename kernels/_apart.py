"""A boundary for the compiler: arrays that are written once, where XLA on a CPU would compute them for each reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata


def apart(function: Callable[..., Any]) -> Callable[..., Any]:
  """A function of arrays that XLA compiles as a unit on a CPU: not fused with its arguments or with its consumers.

  On a CPU, XLA fuses cheap operations however often an element is read, and calls a function for each element that is
  read at several places. It removes `jax.lax.optimization_barrier` before. On other platforms fusion weighs the cost,
  and outside of `jit` nothing is fused.

  >>> print(apart(lambda x: x + 1)(jax.numpy.ones(2)))
  [2. 2.]
  """

  def unit(*arrays: Any) -> Any:
    traced = any(isinstance(x, jax.core.Tracer) for x in arrays)
    if not traced or jax.default_backend() != "cpu":
      return function(*arrays)
    return set_xla_metadata(jax.jit(function)(*arrays), inlineable="false")

  return unit
