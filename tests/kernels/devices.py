"""Shared parts of the tests over 8 devices: a process of their own, and the collectives of a compiled program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests import compilation

DEVICES = 8
COLLECTIVE = re.compile(
  r"= (.*?) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter|collective-broadcast)(-start)?\("
)


def run_on_eight_devices(module: str, *arguments: str) -> None:
  """Run a module of the tests in a process of its own with 8 devices; fail with what it said if it does."""
  environment = os.environ | {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": compilation.devices(DEVICES),
  }
  process = subprocess.run(
    [sys.executable, "-m", module, *arguments],
    cwd=Path(__file__).parents[2],
    env=environment,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert process.returncode == 0, process.stdout + process.stderr[-4000:]
