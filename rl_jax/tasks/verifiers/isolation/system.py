"""System calls of Linux that the standard library lacks: namespaces, mounts and prctl, by the C library."""

from __future__ import annotations

import ctypes
import os
import struct
import time
from typing import Any

NEW_MOUNTS, NEW_UTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NET = (1 << bit for bit in (17, 26, 27, 28, 29, 30))
READ_ONLY, NO_SETUID, NO_DEVICES, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
DETACH = 2
SET_PARENT_DEATH_SIGNAL, SET_DUMPABLE, SET_SECCOMP, SET_NO_NEW_PRIVS = 1, 4, 22, 38
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> None:
  """Call a function of the C library. Raises: OSError: it failed; the message names the function."""
  plain = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
  if getattr(_libc, name)(*plain) == -1:
    number = ctypes.get_errno()
    raise OSError(number, f"{name}: {os.strerror(number)}")


def prctl(option: int, value: Any, third: Any = 0) -> None:
  """Set an option of this process."""
  call("prctl", option, value, third, 0, 0)


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
  """Mount a file system, or change a mount."""
  texts = [text.encode() if text is not None else None for text in (source, target, kind)]
  call("mount", *texts, flags, options.encode() if options is not None else None)


def unmount(target: str) -> None:
  """Take a mount out of the tree; what still uses it keeps it."""
  call("umount2", target.encode(), DETACH)


def bind(source: int, target: str, *, read_only: bool) -> None:
  """Show the file or folder that the descriptor `source` names at `target` too, which is made."""
  os.makedirs(os.path.dirname(target), exist_ok=True)
  if os.path.isdir(f"/proc/self/fd/{source}"):
    os.makedirs(target, exist_ok=True)
  else:
    os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
  mount(f"/proc/self/fd/{source}", target, None, BIND | RECURSIVE)
  if read_only:
    attributes = struct.pack("QQQQ", READ_ONLY | NO_SETUID | NO_DEVICES, 0, 0, 0)
    call("syscall", _MOUNT_SETATTR, _AT_FDCWD, target.encode(), _AT_RECURSIVE, attributes, len(attributes))


def cpu_seconds(pid: int) -> float:
  """CPU time of all threads of a process, ended children left out. Raises: OSError: there is no such process."""
  return time.clock_gettime(((~pid) << 3) | 2)  # the kernel's number for the CPU clock of a process
