"""The system calls that a confined process may not make, as a filter that it cannot take off."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from rl_jax.tasks.verifiers.isolation import system

_NAMES = (
  "socket memfd_create memfd_secret shmget shmat msgget msgsnd semget semop semtimedop mq_open ptrace "
  "process_vm_readv process_vm_writev pidfd_getfd kcmp unshare setns bpf userfaultfd perf_event_open add_key "
  "request_key keyctl io_uring_setup syslog open_by_handle_at"
).split()
"""Ways to other processes and networks, new namespaces, and memory that no limit counts."""

_NUMBERS = {
  "x86_64": (
    41, 319, 447, 29, 30, 68, 69, 64, 65, 220, 240, 101, 310, 311, 438, 312, 272, 308, 321, 323, 298, 248, 249, 250,
    425, 103, 304,
  ),
  "aarch64": (
    198, 279, 447, 194, 196, 186, 189, 190, 193, 192, 180, 117, 270, 271, 438, 272, 97, 268, 280, 282, 241, 217, 218,
    219, 425, 116, 265,
  ),
}  # fmt: skip
DENIED = {machine: dict(zip(_NAMES, numbers, strict=True)) for machine, numbers in _NUMBERS.items()}
"""Machine -> system call -> its number."""

_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CLONE, _PRLIMIT = {"x86_64": 56, "aarch64": 220}, {"x86_64": 302, "aarch64": 261}
_FORKS = {"x86_64": (57, 58), "aarch64": ()}
_CLONE3, _X32, _THREAD = 435, 0x40000000, 0x10000
_SPACES = (
  system.NEW_MOUNTS | system.NEW_UTS | system.NEW_IPC | system.NEW_PIDS | system.NEW_NET | system.NEW_USER | 1 << 25
)
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000


def install(*, forks: bool) -> None:
  """Take calls from this process and its children for good.

  Args:
    forks: whether new processes may be made; threads always may.
  """
  machine = os.uname().machine
  refuse = lambda number: (_RETURN, 0, 0, _REFUSE | number)
  program = [(_LOAD, 0, 0, _MACHINE), (_EQUAL, 1, 0, _ARCHITECTURE[machine]), (_RETURN, 0, 0, _KILL)]
  program += [(_LOAD, 0, 0, _NUMBER)]
  if machine == "x86_64":
    program += [(_AT_LEAST, 0, 1, _X32), refuse(errno.EPERM)]
  for number in DENIED[machine].values():
    program += [(_EQUAL, 0, 1, number), refuse(errno.EPERM)]
  program += [(_EQUAL, 0, 1, _CLONE3), refuse(errno.ENOSYS)]  # its flags lie in memory; the C library goes on to clone
  for number in () if forks else _FORKS[machine]:
    program += [(_EQUAL, 0, 1, number), refuse(errno.EAGAIN)]
  # The limits of another process: that of the judge among them, where both have one user.
  program += [(_EQUAL, 0, 4, _PRLIMIT[machine]), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_EQUAL, 1, 0, 0)]
  program += [refuse(errno.EPERM), (_RETURN, 0, 0, _ALLOW)]
  program += [(_EQUAL, 0, 5, _CLONE[machine]), (_LOAD, 0, 0, _FIRST_ARGUMENT)]
  program += [(_ANY_BIT, 0, 1, _SPACES), refuse(errno.EPERM)]
  program += [(_ANY_BIT, 1, 0, _THREAD), refuse(errno.EAGAIN) if not forks else (_RETURN, 0, 0, _ALLOW)]
  program += [(_RETURN, 0, 0, _ALLOW)]
  code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
  system.prctl(system.SET_NO_NEW_PRIVS, 1)
  system.prctl(system.SET_SECCOMP, 2, struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
