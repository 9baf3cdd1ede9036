"""Namespaces of a process's own: no network, no other processes, and a root folder that holds what it is shown.

A user without rights makes a user namespace first. So does root inside a container that maps too few users.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import NamedTuple

from rl_jax.tasks.verifiers.isolation import system

FIRST_UID, UIDS = 61184, 4096
"""Range of users for confined processes: what systemd gives to users made on the fly. Processes are counted by user."""
_SPACES = system.NEW_MOUNTS | system.NEW_UTS | system.NEW_IPC | system.NEW_PIDS | system.NEW_NET
_QUIET = system.NO_SETUID | system.NO_DEVICES


class User(NamedTuple):
  """The user that a confined process becomes.

  Attributes:
    uid, gid: inside its namespaces.
    mapped: whether it is the user that started them under another name, in a user namespace.
  """

  uid: int
  gid: int
  mapped: bool


class View(NamedTuple):
  """Files that a confined process sees.

  Attributes:
    shown: paths of the host, read-only, none inside another folder of them.
    hidden: folders inside `shown` that appear empty.
    links: paths and where they point to.
    temporary: an empty folder, for `make_temporary`.
    processes: whether there is a /proc of the processes of this namespace, where the machine allows one.
  """

  shown: tuple[str, ...]
  hidden: tuple[str, ...] = ()
  links: tuple[tuple[str, str], ...] = ()
  temporary: str = "/tmp"
  processes: bool = False


def separate(number: int) -> User:
  """Leave the host's network, mounts, memory segments and, for children, processes.

  Args:
    number: tells the users of confined processes apart.

  Raises: OSError: it is not allowed here.
  """
  own = FIRST_UID + number % UIDS
  if os.getuid() == 0 and _is_mapped(own):
    with contextlib.suppress(PermissionError):
      system.call("unshare", _SPACES)
      return User(own, own, mapped=False)
  uid, gid = os.getuid(), os.getgid()
  system.call("unshare", _SPACES | system.NEW_USER)
  inner = User(uid or own, gid or own, mapped=True)
  for file, text in (("setgroups", "deny"), ("uid_map", f"{inner.uid} {uid} 1"), ("gid_map", f"{inner.gid} {gid} 1")):
    with open(f"/proc/self/{file}", "w") as stream:
      stream.write(text)
  return inner


def _is_mapped(uid: int) -> bool:
  """Return whether a user exists in the user namespace of this process."""
  with open("/proc/self/uid_map") as lines:
    ranges = [[int(number) for number in line.split()] for line in lines]
  return any(first <= uid < first + count for first, _, count in ranges)


def enter(view: View) -> None:
  """Make a root folder that holds nothing but the view and two devices."""
  system.mount("none", "/", None, system.RECURSIVE | system.PRIVATE)
  links = {path: os.readlink(path) for path in view.shown if os.path.islink(path)} | dict(view.links)
  paths = [*view.shown, "/dev/null", "/dev/urandom"]
  sources = {path: os.open(path, os.O_PATH) for path in paths if path not in links}
  root = "/tmp"  # whatever lies there stays open in `sources`
  system.mount("tmpfs", root, "tmpfs", _QUIET, "size=1m,mode=0755")
  for path, source in sources.items():
    system.bind(source, root + path, read_only=not path.startswith("/dev/"))
    os.close(source)
  for path, link in links.items():
    os.makedirs(os.path.dirname(root + path), exist_ok=True)
    with contextlib.suppress(FileExistsError):
      os.symlink(link, root + path)
  for path in view.hidden:
    if os.path.isdir(root + path):
      system.mount("tmpfs", root + path, "tmpfs", _QUIET | system.READ_ONLY, "size=4k,mode=0755")
  os.makedirs(root + view.temporary, exist_ok=True)
  if view.processes:
    os.makedirs(f"{root}/proc", exist_ok=True)
    with contextlib.suppress(OSError):  # not in a user namespace inside a container
      system.mount("proc", f"{root}/proc", "proc", _QUIET)
  system.mount("none", root, None, system.REMOUNT | system.BIND | system.READ_ONLY | _QUIET)
  os.chdir(root)
  system.call("pivot_root", b".", b".")
  system.unmount(".")
  os.chdir("/")


def make_temporary(user: User, size: int, path: str) -> None:
  """Mount an empty folder of `size` bytes for a user."""
  options = f"size={size},nr_inodes=256,mode=0700,uid={user.uid},gid={user.gid}"
  system.mount("tmpfs", path, "tmpfs", _QUIET, options)


def become(user: User) -> None:
  """Change to a user without rights; those of a mapped one end when it starts a program."""
  os.umask(0o077)
  if not user.mapped:
    os.setgroups([])
    os.setresgid(*[user.gid] * 3)
    os.setresuid(*[user.uid] * 3)


def outermost(paths: Sequence[str]) -> tuple[str, ...]:
  """The paths that exist and are not inside another one, each once."""
  present = [path for path in dict.fromkeys(paths) if os.path.exists(path)]
  return tuple(p for p in present if not any(p.startswith(f"{other.rstrip('/')}/") for other in present if other != p))


def why_not(error: OSError) -> str:
  """One line on what the machine lacks, and what to do."""
  if not os.path.exists("/proc/self/fd"):
    reason = "no /proc is mounted"
  else:
    reason = error.strerror or str(error)
  return (
    f"{reason}; allow user namespaces (sysctl user.max_user_namespaces, and the container's seccomp profile) or run as "
    "root with CAP_SYS_ADMIN"
  )
