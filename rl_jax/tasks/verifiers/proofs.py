"""Proofs of isolation: small programs that try to escape the sandbox, run as tests before any other program."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rl_jax.tasks.verifiers.isolation.execution import ENVIRONMENT

_FOLDERS = {"dev", "etc", "lib", "lib32", "lib64", "nix", "tmp", "usr", sys.base_prefix.split("/")[1]}

PROBES = {
  "a user without rights": "import os\nassert os.getuid() != 0 and os.geteuid() != 0",
  "no network": """
import socket
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
  try:
    socket.socket(family)
  except OSError:
    continue
  raise AssertionError(family)""",
  "no files of the host": """
import os
assert set(os.listdir("/")) <= {folders}, os.listdir("/")
for path in {paths}:
  try:
    open(path).close()
  except OSError:
    continue
  raise AssertionError(path)
try:
  open("/usr/probe", "w")
except OSError:
  pass
else:
  raise AssertionError("/usr can be written")""",
  "no environment": "import os\nassert set(os.environ) <= {environment}",
  "no other processes": """
import os
try:
  os.kill(1, 9)
except OSError:
  pass
assert os.getppid() == 1""",
  "few processes": """
import os, signal
for _ in range(100):
  try:
    if os.fork() == 0:
      signal.pause()
  except BlockingIOError:
    break
else:
  raise AssertionError("100 processes")""",
  "little memory": """
try:
  bytes(2**30)
except MemoryError:
  pass
else:
  raise AssertionError("1 GiB")""",
}
"""Properties that a sandbox must have, and for each a program that fails without it."""


def tests() -> list[str]:
  """The proofs for this machine: none of these files of the host may be opened from inside."""
  folders = [Path.cwd(), Path(os.environ.get("RL_JAX_CACHE", Path.home() / ".cache")), Path.home(), Path("/usr/src")]
  files = [str(path) for folder in folders for path in _some_files(folder)]
  values = {"folders": _FOLDERS, "environment": {*ENVIRONMENT, "LC_CTYPE"}, "paths": ["/etc/passwd", *files]}
  return [text.format(**values) for text in PROBES.values()]


def _some_files(folder: Path, most: int = 20) -> list[Path]:
  try:
    return [path for path in sorted(folder.iterdir()) if path.is_file()][:most]
  except OSError:
    return []
