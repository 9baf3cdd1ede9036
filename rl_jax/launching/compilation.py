"""Disk cache of compiled programs, so that a repeated or resumed run does not compile them again."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

import jax


def keep_programs() -> None:
  """Cache compiled programs in ~/.cache/rl_jax/programs, unless JAX_COMPILATION_CACHE_DIR names another folder or
  JAX_ENABLE_COMPILATION_CACHE=false."""
  setting = lambda name: getattr(jax.config, name)
  if setting("jax_enable_compilation_cache") and setting("jax_compilation_cache_dir") is None:
    jax.config.update("jax_compilation_cache_dir", str(_folder()))


def _folder() -> Path:
  """Folder for this kind of processor: homes are shared, and a program for one processor may not run on another."""
  try:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    processor = next(line for line in lines if line.startswith(("flags", "Features")))
  except (OSError, StopIteration):
    processor = platform.processor()
  name = hashlib.sha256(f"{platform.machine()} {processor}".encode()).hexdigest()[:12]
  caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
  return caches / "rl_jax" / "programs" / name
