"""How the tests compile: many small programs, each run a few times, so that compiling takes longer than computing."""

from __future__ import annotations

import jax

_FLAGS = ["--xla_cpu_parallel_codegen_split_count=1"]  # one part of code has no thread to start
if jax.__version_info__ < (0, 11):  # later compilers know no other emitters, and end where a flag is unknown to them
  _FLAGS.append("--xla_cpu_use_fusion_emitters=false")

QUICK = " ".join(_FLAGS)
"""XLA_FLAGS that shorten the compilation of a small program."""


def devices(count: int) -> str:
  """The same, and a CPU that counts as so many devices."""
  return f"{QUICK} --xla_force_host_platform_device_count={count}"
