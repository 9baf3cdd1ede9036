"""Types of arrays returned by users' code."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

_REAL = (jnp.floating, jnp.integer, jnp.bool_)


def is_real(value: Any) -> bool:
  """Return whether an array holds real numbers of any width, or bools, which count as 0 and 1.

  Complex numbers and objects are not real.

  >>> is_real(jnp.ones(2, jnp.bfloat16)), is_real(jnp.ones(2, jnp.complex64))
  (True, False)
  """
  return hasattr(value, "dtype") and any(jnp.issubdtype(value.dtype, kind) for kind in _REAL)
