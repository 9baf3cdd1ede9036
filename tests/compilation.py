"""Compilation in tests: many small programs, each run a few times, so that compiling takes longer than computing."""

from __future__ import annotations

import functools

import jax
from jax._src.interpreters import mlir

_FLAGS = ["--xla_cpu_parallel_codegen_split_count=1"]  # one part of code has no thread to start
if jax.__version_info__ < (0, 11):  # later compilers know no other emitters, and end where a flag is unknown to them
  _FLAGS.append("--xla_cpu_use_fusion_emitters=false")

QUICK = " ".join(_FLAGS)
"""XLA_FLAGS that shorten the compilation of a small program."""


def share_context() -> None:
  """All programs that this process lowers from now on share one MLIR context, which takes longer to make than a small
  program to lower. No public switch does it; where a version of JAX makes them elsewhere, each has its own again."""
  if hasattr(mlir, "make_ir_context"):
    mlir.make_ir_context = functools.cache(mlir.make_ir_context)


def devices(count: int) -> str:
  """Flags for quick compilation, and for a CPU that counts as so many devices."""
  return f"{QUICK} --xla_force_host_platform_device_count={count}"
