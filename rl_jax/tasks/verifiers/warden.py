"""Runs one program against its tests in namespaces of its own. `sandbox` starts this file as a script; it imports none.

Reads a job as JSON from stdin and writes {"outcomes": [[passed, ended, output], …]} or {"refused": "why"} to stdout.
The process that starts makes the namespaces; its child is their first process (`_watch`), which keeps the judgement and
starts one process without any rights for each test. When the first process ends, the kernel ends all others.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import marshal
import os
import resource
import secrets
import select
import signal
import struct
import sys
import time
from typing import Any

NEW_MOUNTS, NEW_UTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NET = (1 << bit for bit in (17, 26, 27, 28, 29, 30))
NAMESPACES = NEW_MOUNTS | NEW_UTS | NEW_IPC | NEW_PIDS | NEW_NET
READ_ONLY, NO_SETUID, NO_DEVICES, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
DETACH = 2
SET_PARENT_DEATH_SIGNAL, SET_DUMPABLE, SET_SECCOMP, SET_NO_NEW_PRIVS = 1, 4, 22, 38
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE = 442, -100, 0x8000
FIRST_UID = 61184
"""Of the range that systemd gives to users made on the fly; one for each sandbox, as processes are counted by user."""

DENIED = {
  # socket, memfd_create, memfd_secret, shmget, msgget (memory outside the limits), ptrace, unshare, setns, bpf,
  # userfaultfd, perf_event_open, add_key, request_key, keyctl, io_uring_setup
  "x86_64": (0xC000003E, 56, (41, 319, 447, 29, 68, 101, 272, 308, 321, 323, 298, 248, 249, 250, 425)),
  "aarch64": (0xC00000B7, 220, (198, 279, 447, 194, 186, 117, 97, 268, 280, 282, 241, 217, 218, 219, 425)),
}
"""Machine -> number of its architecture, of clone, and of the system calls that a program may not make."""
CLONE3, X32 = 435, 0x40000000

DRIVER = """
import builtins, marshal, os, sys, types
builtins.exit = builtins.quit = sys.exit
with open(3, "rb") as job:
  name, program, test = marshal.load(job)
driver, sys.modules[name] = sys.modules["__main__"], types.ModuleType(name)
exec(compile(program, "program.py", "exec"), sys.modules[name].__dict__)
if test is not None:
  exec(compile(test, "test.py", "exec"), sys.modules[name].__dict__)
  os.write(5, os.read(4, 64))
"""
"""What the program's interpreter runs: an assertion test has passed if what lies in pipe 4 came back after it."""

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> None:
  """Calls the C library; OSError that names the function if it fails."""
  plain = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
  if getattr(_libc, name)(*plain) == -1:
    number = ctypes.get_errno()
    raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
  texts = [text.encode() if text is not None else None for text in (source, target, kind)]
  _call("mount", *texts, flags, options.encode() if options is not None else None)


def _separate() -> None:
  """Leaves the host's network, processes, mounts and memory segments; a user without rights needs a user namespace."""
  uid, gid = os.getuid(), os.getgid()
  if uid == 0:
    _call("unshare", NAMESPACES)
    return
  _call("unshare", NAMESPACES | NEW_USER)
  for file, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
    with open(f"/proc/self/{file}", "w") as stream:
      stream.write(text)


def _enter_root(folders: list[str]) -> None:
  """Makes a root folder that holds nothing but `folders`, read-only, two devices and an empty /tmp."""
  _mount("none", "/", None, RECURSIVE | PRIVATE)
  links = {path: os.readlink(path) for path in folders if os.path.islink(path)}
  sources = {path: os.open(path, os.O_PATH) for path in [*folders, "/dev/null", "/dev/urandom"] if path not in links}
  root = "/tmp"  # whatever lies there stays open in `sources`
  _mount("tmpfs", root, "tmpfs", NO_SETUID | NO_DEVICES, "size=1m,mode=0755")
  for path, source in sources.items():
    _bind(source, root + path, read_only=not path.startswith("/dev/"))
    os.close(source)
  for path, link in links.items():
    os.makedirs(os.path.dirname(root + path), exist_ok=True)
    os.symlink(link, root + path)
  os.makedirs(f"{root}/tmp", exist_ok=True)
  _mount("none", root, None, REMOUNT | BIND | READ_ONLY | NO_SETUID | NO_DEVICES)
  os.chdir(root)
  _call("pivot_root", b".", b".")
  _call("umount2", b".", DETACH)
  os.chdir("/")


def _bind(source: int, target: str, *, read_only: bool) -> None:
  os.makedirs(os.path.dirname(target), exist_ok=True)
  if os.path.isdir(f"/proc/self/fd/{source}"):
    os.makedirs(target, exist_ok=True)
  else:
    os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
  _mount(f"/proc/self/fd/{source}", target, None, BIND | RECURSIVE)
  if read_only:
    attributes = struct.pack("QQQQ", READ_ONLY | NO_SETUID | NO_DEVICES, 0, 0, 0)
    _call("syscall", MOUNT_SETATTR, AT_FDCWD, target.encode(), AT_RECURSIVE, attributes, len(attributes))


def _filter_calls() -> None:
  """Takes sockets, new namespaces and memory outside the limits from this process for good."""
  architecture, clone, denied = DENIED[os.uname().machine]
  load, equal, at_least, any_bit, leave = 0x20, 0x15, 0x35, 0x45, 0x06
  refuse = lambda number: (leave, 0, 0, 0x00050000 | number)
  program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (leave, 0, 0, 0x80000000), (load, 0, 0, 0)]
  if os.uname().machine == "x86_64":
    program += [(at_least, 0, 1, X32), refuse(errno.EPERM)]
  for call in denied:
    program += [(equal, 0, 1, call), refuse(errno.EPERM)]
  program += [(equal, 0, 1, CLONE3), refuse(errno.ENOSYS)]  # its flags lie in memory; the C library goes on to clone
  program += [(equal, 0, 3, clone), (load, 0, 0, 16), (any_bit, 0, 1, NAMESPACES | NEW_USER | 1 << 25)]
  program += [refuse(errno.EPERM), (leave, 0, 0, 0x7FFF0000)]
  code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
  _call("prctl", SET_SECCOMP, 2, struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)), 0, 0)


def _become_program(job: dict[str, Any], fds: list[int], failed: int) -> None:
  """Gives up all rights and becomes the interpreter of the program, with `fds` as 0, 1, …"""
  try:
    os.setsid()
    # Out of the way of the numbers that they get.
    *moved, failed = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in [*fds, failed])
    for at, fd in enumerate(moved):
      os.dup2(fd, at)
    failed = os.dup2(failed, len(fds), inheritable=False)
    os.closerange(len(fds) + 1, 256)
    os.chdir("/tmp")
    os.umask(0o077)
    if os.getuid() == 0:
      os.setgroups([])
      os.setresgid(*[job["gid"]] * 3)
      os.setresuid(*[job["uid"]] * 3)
    limits = {
      resource.RLIMIT_AS: job["memory_bytes"],
      resource.RLIMIT_FSIZE: job["file_bytes"],
      resource.RLIMIT_NPROC: job["processes"],
      resource.RLIMIT_NOFILE: 64,
      resource.RLIMIT_CORE: 0,
    }
    for name, limit in limits.items():
      resource.setrlimit(name, (limit, limit))
    # The soft limit sends SIGXCPU, which shows in the exit status; at the hard one the signal is SIGKILL.
    resource.setrlimit(resource.RLIMIT_CPU, (job["cpu_seconds"], job["cpu_seconds"] + 1))
    _call("prctl", SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _filter_calls()
    arguments = [job["python"], "-sSPB", "-X", "utf8", "-c", DRIVER]
    os.execve(job["python"], arguments, {"PYTHONHASHSEED": "0"})
  except (OSError, ValueError) as error:
    os.write(failed, str(error).encode())
  finally:
    os._exit(127)


def _input_file(data: bytes) -> int:
  file = os.memfd_create("input")
  with open(file, "wb", closefd=False) as stream:
    stream.write(data)
  os.lseek(file, 0, os.SEEK_SET)
  return file


def _run(job: dict[str, Any], test: str | list[str], seconds: float) -> tuple[bool | None, str, str]:
  """The outcome of one test: an assertion, or [input, output]."""
  options = f"size={job['file_bytes']},nr_inodes=256,mode=0700,uid={job['uid']},gid={job['gid']}"
  _mount("tmpfs", "/tmp", "tmpfs", NO_SETUID | NO_DEVICES, options)
  text, assertion = ("", test) if isinstance(test, str) else (test[0], None)
  name = "__main__" if assertion is None else "program"
  proof = secrets.token_hex(16).encode()
  (output, out), (proof_in, proof_write), (proof_read, proof_out), (failure, failed) = (os.pipe() for _ in range(4))
  os.write(proof_write, proof)
  os.close(proof_write)
  errors = out if assertion is not None else os.open("/dev/null", os.O_WRONLY)  # a judged output holds no warnings
  given = [_input_file(text.encode(errors="surrogatepass")), out, errors]
  given += [_input_file(marshal.dumps((name, job["program"], assertion))), proof_in, proof_out]
  pid = os.fork()
  if pid == 0:
    _become_program(job, given, failed)
  for fd in {*given, failed}:
    os.close(fd)
  problem = os.read(failure, 500)
  written, ended = _read_until_end(pid, output, seconds, job["output_bytes"])
  status = _end_all(pid)
  if ended == "":
    written, ended = _rest(output, written, status, job["output_bytes"])
  proven = select.select([proof_read], [], [], 0)[0] and os.read(proof_read, 64) == proof
  for fd in (output, proof_read, failure):
    os.close(fd)
  _call("umount2", b"/tmp", DETACH)
  if problem:
    raise OSError(problem.decode())
  shown = written[: job["shown_bytes"]].decode(errors="replace")
  if ended not in ("finished", "failed"):
    return None, ended, shown
  right = proven if assertion is not None else _lines(written) == _lines(test[1].encode(errors="surrogatepass"))
  return ended == "finished" and bool(right), ended, shown


def _read_until_end(pid: int, output: int, seconds: float, most: int) -> tuple[bytes, str]:
  """Reads what a program prints until it ends ("") or has to be ended: "time" or "output"."""
  process, until, written, poll = os.pidfd_open(pid), time.monotonic() + seconds, b"", select.poll()
  poll.register(process, select.POLLIN)
  poll.register(output, select.POLLIN)
  try:
    while True:
      events = poll.poll(max(0.0, until - time.monotonic()) * 1000)
      if not events:
        return written, "time"
      ready = [fd for fd, _ in events]
      if output in ready:
        data = os.read(output, 65536)
        written += data
        if len(written) > most:
          return written, "output"
        if not data:
          poll.unregister(output)
      if process in ready:
        return written, ""
      if time.monotonic() > until:
        return written, "time"
  finally:
    os.close(process)


def _end_all(pid: int) -> int:
  """Kills every other process of the namespace; returns the exit status of `pid`."""
  found = 0
  while True:
    with contextlib.suppress(ProcessLookupError):
      os.kill(-1, signal.SIGKILL)
    try:
      ended, status = os.wait()
    except ChildProcessError:
      return found
    if ended == pid:
      found = status


def _rest(output: int, written: bytes, status: int, most: int) -> tuple[bytes, str]:
  """What is still in the pipe of a program that has ended, and how it ended."""
  while data := os.read(output, 65536):
    written += data
  if len(written) > most:
    return written, "output"
  if os.WIFSIGNALED(status):
    return written, "time" if os.WTERMSIG(status) == signal.SIGXCPU else "killed"
  return written, "finished" if os.WEXITSTATUS(status) == 0 else "failed"


def _lines(text: bytes) -> list[bytes]:
  return [line.rstrip() for line in text.rstrip().splitlines()]


def _watch(job: dict[str, Any]) -> dict[str, Any]:
  assert os.getpid() == 1, "outside a namespace of its own, _end_all would kill all processes of the machine"
  _call("prctl", SET_DUMPABLE, 0, 0, 0, 0)  # programs may have the same user
  until, outcomes = time.monotonic() + job["total_seconds"], []
  for test in job["tests"]:
    left = until - time.monotonic()
    outcomes.append(_run(job, test, min(job["seconds"], left)) if left > 0 else (None, "time", ""))
  return {"outcomes": outcomes}


def main() -> None:
  """Does the job that comes on stdin."""
  _call("prctl", SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
  job = json.load(sys.stdin.buffer)
  own = FIRST_UID + os.getpid() % 4096
  job["uid"], job["gid"] = (own, own) if os.getuid() == 0 else (os.getuid(), os.getgid())
  try:
    _separate()
    _enter_root(job["folders"])
    child = os.fork()
    if child:
      os.waitpid(child, 0)
      return
    _call("prctl", SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    answer = _watch(job)
  except OSError as error:
    answer = {"refused": error.strerror or str(error)}
  sys.stdout.write(json.dumps(answer))
  sys.stdout.flush()


if __name__ == "__main__":
  main()
