"""How the tests compile: many small programs, each run a few times, so that compiling takes longer than computing."""

from __future__ import annotations

QUICK = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
"""XLA_FLAGS that halve the time to compile a small program; with one part of code there is no thread to start."""


def devices(count: int) -> str:
  """The same, and a CPU that counts as so many devices."""
  return f"{QUICK} --xla_force_host_platform_device_count={count}"
