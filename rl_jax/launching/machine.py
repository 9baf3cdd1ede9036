"""JAX's devices in this process, in words, and its settings that change numbers."""

from __future__ import annotations

from typing import Any

import jax

_SETTINGS = (
  "jax_enable_x64",
  "jax_default_matmul_precision",
  "jax_default_prng_impl",
  "jax_threefry_partitionable",
)


def devices() -> str:
  """Kinds and numbers of the devices: "cpu x1", "TPU v5 lite x8"."""
  kinds = [device.device_kind for device in jax.devices()]
  return ", ".join(f"{kind} x{kinds.count(kind)}" for kind in dict.fromkeys(kinds))


def settings() -> dict[str, Any]:
  """Settings of JAX that change numbers, from flags, environment or code; None where this version has no such one."""
  return {name: getattr(jax.config, name, None) for name in _SETTINGS}
