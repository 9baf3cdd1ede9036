"""The batch axis over 8 devices: same numbers, and only group-sized data between devices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.kernels import sharded


def test_eight_devices_equal_one():
  environment = os.environ | {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": f"--xla_force_host_platform_device_count={sharded.DEVICES}",
  }
  process = subprocess.run(
    [sys.executable, "-m", "tests.kernels.sharded"],
    cwd=Path(__file__).parents[2],
    env=environment,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert process.returncode == 0, process.stdout + process.stderr[-4000:]


def test_the_check_sees_a_token_sized_collective():
  program = "%g = f32[16,33]{1,0} all-gather(f32[2,33]{1,0} %x), dimensions={0}\n%r = f32[16]{0} all-reduce(%y)"
  assert sharded.moved(program) == ["all-gather f32[16,33]{1,0}"]
