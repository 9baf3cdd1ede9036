"""A group of processes whose memory and number the kernel bounds together: cgroup v2, where it may be used."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_WANTED = {"memory", "pids"}


class Group:
  """A cgroup of this process's own. It vanishes with `close`, when its processes have ended."""

  def __init__(self, folder: Path):
    self.folder = folder

  def limit(self, memory_bytes: int, processes: int) -> None:
    """Bound the memory and the number of processes and threads of all members together."""
    limits = {"memory.max": memory_bytes, "memory.swap.max": 0, "memory.oom.group": 1, "pids.max": processes}
    for file, limit in limits.items():
      with contextlib.suppress(FileNotFoundError):  # a kernel without swap accounting
        (self.folder / file).write_text(str(limit))

  def opened(self) -> int:
    """Return a descriptor; a process that writes "0" to it joins the group."""
    return os.open(self.folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)

  def close(self) -> None:
    """Remove the group."""
    with contextlib.suppress(OSError):
      self.folder.rmdir()


def make(root: Path = ROOT, membership: Path = Path("/proc/self/cgroup")) -> Group | None:
  """Return a new group below that of this process or below the root; None where neither may have one."""
  try:
    lines = membership.read_text().splitlines()
  except OSError:
    return None
  own = [line.removeprefix("0::").lstrip("/") for line in lines if line.startswith("0::")]
  for parent in dict.fromkeys([root / name for name in own] + [root]):
    with contextlib.suppress(OSError):
      if not _WANTED <= set((parent / "cgroup.subtree_control").read_text().split()):
        (parent / "cgroup.subtree_control").write_text("+memory +pids")
      folder = parent / f"rl_jax-{os.getpid()}"
      folder.mkdir()
      return Group(folder)
  return None
