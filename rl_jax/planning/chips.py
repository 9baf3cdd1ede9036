"""TPU chips for plans: published rates, and topologies without attached hardware.

Rates per chip are from "System architecture" of https://cloud.google.com/tpu/docs/v5e, /v5p and /v6e (read in 2025):
bfloat16 operations per second, HBM bytes per second, and interconnect bytes per second in both directions together; a
chip can send half of these. `hbm` is the part of the published 16, 95 and 32 GB that XLA for TPU grants a program.
"""

from __future__ import annotations

import importlib.util
import os
import re
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from rl_jax.errors import UserError

GIB = 2**30


class Chip(NamedTuple):
  """One chip."""

  name: str
  flops: float
  """bfloat16 operations per second."""
  hbm: float
  """Bytes of memory."""
  hbm_rate: float
  """Bytes per second between memory and chip."""
  link_rate: float
  """Bytes per second sent over all links to other chips."""


CHIPS = {
  "v5e": Chip("v5e", 197e12, 15.75 * GIB, 819e9, 400e9 / 2),
  "v5p": Chip("v5p", 459e12, 95.74 * GIB, 2765e9, 1200e9 / 2),
  "v6e": Chip("v6e", 918e12, 31.25 * GIB, 1640e9, 800e9 / 2),
}
_QUIET = {
  "TPU_SKIP_MDS_QUERY": "1",
  "TPU_LOG_DIR": "disabled",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "TPU_ACCELERATOR_TYPE": "v5litepod-8",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # allows concurrent plans: none of them uses a device
}
"""Environment variables that keep libtpu from asking the cloud's metadata server, printing warnings, writing log files
and refusing a second process."""
MOST = 256
"""Largest number of chips in a topology."""


def topology(name: str) -> tuple[Chip, list[Any]]:
  """Chip and devices of a topology such as "v5p:4x4x4", without attached hardware.

  "cpu:8" means devices of this process (see --xla_force_host_platform_device_count), with the rates of a v5e. Programs
  are then compiled by XLA for CPU, and only counts are meaningful.

  Raises: UserError: there is no such topology, or libtpu, which compiles for it, is not installed.
  """
  kind, _, shape = name.partition(":")
  sizes = [int(size) for size in shape.split("x")] if re.fullmatch(r"\d+(x\d+){0,2}", shape) else []
  if kind not in (*CHIPS, "cpu") or not sizes:
    raise UserError(f"--topology={name!r}: write one of {', '.join(CHIPS)} and a shape, as in v5p:4x4x4")
  if kind == "cpu":
    return CHIPS["v5e"], _cpus(sizes[0])
  if importlib.util.find_spec("libtpu") is None:
    raise UserError(
      f"--topology={name} needs libtpu to compile, which is not installed: pip install 'rl-jax[tpu]' (no TPU needed)"
    )
  for variable, value in _QUIET.items():
    os.environ.setdefault(variable, value)
  try:
    devices = topologies.get_topology_desc(platform="tpu", topology_name=name).devices
  except (ValueError, RuntimeError) as error:
    raise UserError(f"--topology={name} is unknown to libtpu: {str(error).splitlines()[0]}") from error
  if len(devices) > MOST:
    raise UserError(f"--topology={name} has {len(devices)} chips: take one of at most {MOST}")
  return CHIPS[kind], list(devices)


def _cpus(count: int) -> list[Any]:
  devices = jax.devices("cpu")
  if len(devices) < count:
    raise UserError(
      f"--topology=cpu:{count}: this process has {len(devices)} CPU devices: set "
      f"XLA_FLAGS=--xla_force_host_platform_device_count={count}"
    )
  return devices[:count]
