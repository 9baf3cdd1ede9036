"""The batch axis over 8 devices: same numbers, and only group-sized data between devices."""

from __future__ import annotations

import pytest

from tests.kernels import sharded
from tests.kernels.devices import run_on_eight_devices


@pytest.mark.slow  # every kernel on eight devices; tests/training/test_mesh.py has those of an iteration
@pytest.mark.parametrize("which", ["together", "others"])
def test_eight_devices_equal_one(which):
  run_on_eight_devices("tests.kernels.sharded", which)


def test_the_check_sees_a_token_sized_collective():
  program = "%g = f32[16,33]{1,0} all-gather(f32[2,33]{1,0} %x), dimensions={0}\n%r = f32[16]{0} all-reduce(%y)"
  assert sharded.moved(program) == ["all-gather f32[16,33]{1,0}"]
