"""Memory that is freed is used again without a page being touched anew."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import sys
import numpy as np
from rl_jax.launching.memory import keep_freed_memory

if sys.argv[1] == "keep":
  keep_freed_memory()
faults = []
for _ in range(2):
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  np.empty(1 << 28, np.uint8).fill(1)
  faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(*faults)
"""


def faults(how: str) -> list[int]:
  """Page faults of the first and the second array of 256 MiB."""
  done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
  return [int(number) for number in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_pages_of_what_was_freed_are_touched_once():
  first, again = faults("keep")
  assert first > 100 and again < first / 50
  first, again = faults("leave")
  assert again > first / 2, "else this test says nothing"
