"""The first process of a sandbox: it starts programs in turn, watches each, and clears up after it.

A program has a user without rights, an empty /tmp, no network, no descriptor but its input and output, and limits. It
is judged by the CPU time that it has used; the clock counts only the time that it slept, to end programs that wait.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import resource
import secrets
import select
import signal
import time
from typing import Any, NamedTuple

from rl_jax.tasks.verifiers.isolation import driver, namespaces, seccomp, system
from rl_jax.tasks.verifiers.isolation.cgroup import Group
from rl_jax.tasks.verifiers.isolation.namespaces import User

WALL = 5
"""Time that a program may sleep, as a multiple of its CPU time."""
STARVED = 60
"""Time that it may wait for a CPU, as a multiple of its CPU time, before the machine is at fault."""
_TICK = 0.05
ENVIRONMENT = {"PYTHONHASHSEED": "0", "MALLOC_ARENA_MAX": "1"}
"""Environment of programs. Without MALLOC_ARENA_MAX every thread reserves address space that it never uses."""


class Job(NamedTuple):
  """One run of a program.

  Attributes:
    program: Python source.
    name: its module's name.
    stdin: its standard input.
    steps: what runs after it (see `driver`); None: nothing does.
    seconds: of CPU.
    memory_bytes: of all its processes together.
    processes: at once; 1: threads alone.
    threads: of all processes at once.
    file_bytes: of one file, and of all in /tmp.
    output_bytes: printed.
  """

  program: str
  name: str
  stdin: str
  steps: list[driver.Step] | None
  seconds: float
  memory_bytes: int
  processes: int
  threads: int
  file_bytes: int
  output_bytes: int


class Execution(NamedTuple):
  """Result of a run.

  Attributes:
    ended: "finished"; "failed" (an exception or another exit status); "time", "output" or "killed" (it was ended, or
      ended itself by a signal); "refused" (the machine could not run it).
    output: what it printed, errors too where there were steps.
    frames: what the steps reported.
    cpu_seconds: used by all its processes.
    proven: whether the assertions of a "prove" step have passed.
  """

  ended: str
  output: str
  frames: list[dict[str, Any]]
  cpu_seconds: float
  proven: bool


class Executor:
  """Executor of all runs in this sandbox.

  Args:
    python: the interpreter's path.
    user: of the programs.
    clock: a descriptor of the host's /proc, where waiting for a CPU is told; None: there is none.
    group: bounds memory where the machine has cgroups; without one each process gets its share.
  """

  def __init__(self, python: str, user: User, clock: int | None, group: Group | None):
    assert os.getpid() == 1, "outside a namespace of its own, clearing up would kill all processes of the machine"
    self._python, self._user, self._clock, self._group = python, user, clock, group
    self._join = None if group is None else group.opened()
    system.prctl(system.SET_DUMPABLE, 0)  # programs may have the same user
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])  # for programs, which inherit it

  def run(self, job: Job) -> Execution:
    """Run a program. Raises: OSError: the machine could not."""
    namespaces.make_temporary(self._user, job.file_bytes, "/tmp")
    if self._group is not None:
      self._group.limit(job.memory_bytes, job.processes + job.threads)
    mark = None if job.steps is None else secrets.token_hex(16)
    (output, out), (failure, failed) = os.pipe(), os.pipe()
    stdin = _file(job.stdin.encode(errors="surrogatepass"))
    errors = out if mark else os.open("/dev/null", os.O_WRONLY)  # a judged output holds no warnings
    descriptors = [stdin, out, errors, _file(driver.job(job.name, job.program, mark))]
    try:
      pid = os.fork()
      if pid == 0:
        self._become(job, descriptors, failed)
      for fd in {*descriptors, failed} - {stdin}:
        os.close(fd)
      problem = os.read(failure, 500)
      watch = _Watch(pid, output, stdin, job, mark, self._clock)
      ended = watch.until_end()
      status, cpu_seconds = _end_all(pid)
      ended = watch.rest(status) if ended == "" else ended
    finally:
      for fd in (output, failure, stdin):
        os.close(fd)
      system.unmount("/tmp")
    if problem:
      raise OSError(problem.decode())
    printed, frames = driver.take_apart(watch.written, mark) if mark else driver.Frames(watch.written, [])
    proven = any(frame.get("proof") == watch.secret for frame in frames)
    ended = "time" if cpu_seconds > job.seconds and ended in ("finished", "failed") else ended
    return Execution(ended, printed.decode(errors="backslashreplace"), frames, cpu_seconds, proven)

  def _become(self, job: Job, fds: list[int], failed: int) -> None:
    """Give up all rights and become the interpreter of the program, with `fds` as 0, 1, …"""
    try:
      os.setsid()
      if self._join is not None:
        os.write(self._join, b"0")
      # Out of the way of the numbers that they get.
      *moved, failed = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in [*fds, failed])
      for at, fd in enumerate(moved):
        os.dup2(fd, at)
      failed = os.dup2(failed, len(fds), inheritable=False)
      os.closerange(len(fds) + 1, 256)
      os.chdir("/tmp")
      namespaces.become(self._user)
      share = 1 if self._join is not None else job.processes
      own = 1 if self._user.mapped else 0  # this sandbox's first process has the same user
      limits = {
        resource.RLIMIT_AS: job.memory_bytes // share,
        resource.RLIMIT_FSIZE: job.file_bytes,
        resource.RLIMIT_NPROC: job.processes + job.threads - 1 + 2 * own,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_CORE: 0,
      }
      for name, limit in limits.items():
        resource.setrlimit(name, (limit, limit))
      # A second line behind the watch. The soft limit sends SIGXCPU, which shows in the exit status, the hard SIGKILL.
      cpu = math.ceil(job.seconds / job.processes) + 1
      resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
      seccomp.install(forks=job.processes > 1)
      arguments = [self._python, "-sSPB", "-X", "utf8", "-c", driver.LOCAL]
      os.execve(self._python, arguments, ENVIRONMENT)
    except (OSError, ValueError) as error:
      os.write(failed, str(error).encode())
    finally:
      os._exit(127)


class _Watch:
  """One program under watch: its output, and the time that it uses."""

  def __init__(self, pid: int, output: int, stdin: int, job: Job, mark: str | None, clock: int | None):
    self._pid, self._output, self._stdin, self._job, self._mark = pid, output, stdin, job, mark
    self._began, self._ready, self._process = time.monotonic(), mark is None, os.pidfd_open(pid)
    self._waited = _waited_file(clock, self._process)
    self.written, self.secret = b"", secrets.token_hex(16)

  def until_end(self) -> str:
    """Read what is printed until the program ends ("") or must be ended ("time", "output", "refused")."""
    poll = select.poll()
    poll.register(self._process, select.POLLIN)
    poll.register(self._output, select.POLLIN)
    pause = 0.0
    try:
      while True:
        ready = [fd for fd, _ in poll.poll(pause * 1000)]
        if self._output in ready:
          data = os.read(self._output, 65536)
          self.written += data
          if len(self.written) > self._job.output_bytes:
            return "output"
          if not data:
            poll.unregister(self._output)
          elif not self._ready:
            self._give_steps()
        if self._process in ready:
          return ""
        if reason := self._over():
          return reason
        pause = _TICK
    finally:
      os.close(self._process)
      if self._waited is not None:
        os.close(self._waited)

  def _give_steps(self) -> None:
    """Hand over the steps once the program itself has been run."""
    if b"\n" + str(self._mark).encode() + b" " in self.written:
      os.pwrite(self._stdin, driver.steps_after(self.secret, self._job.steps or []), 0)
      with contextlib.suppress(ProcessLookupError):
        os.kill(self._pid, signal.SIGUSR1)
      self._ready = True

  def _over(self) -> str:
    """Reason to end the program now; "" if it may continue."""
    try:
      if system.cpu_seconds(self._pid) > self._job.seconds:
        return "time"
    except OSError:  # it has just ended
      return ""
    elapsed, waited = time.monotonic() - self._began, 0.0
    if self._waited is not None:
      waited = int(os.pread(self._waited, 100, 0).split()[1]) / 1e9
    if elapsed - waited > WALL * self._job.seconds:
      return "time"
    return "refused" if elapsed > STARVED * self._job.seconds else ""

  def rest(self, status: int) -> str:
    """Read the rest of the pipe of a program that has ended; return how it ended."""
    while data := os.read(self._output, 65536):
      self.written += data
    if len(self.written) > self._job.output_bytes:
      return "output"
    if os.WIFSIGNALED(status):
      return "time" if os.WTERMSIG(status) == signal.SIGXCPU else "killed"
    return "finished" if os.WEXITSTATUS(status) == 0 else "failed"


def _waited_file(clock: int | None, process: int) -> int | None:
  """The file in which the host says how long a process has waited for a CPU."""
  if clock is None:
    return None
  try:
    with open(os.open(f"self/fdinfo/{process}", os.O_RDONLY, dir_fd=clock)) as lines:
      pid = next(line.split()[1] for line in lines if line.startswith("Pid:"))
    return os.open(f"{pid}/schedstat", os.O_RDONLY, dir_fd=clock)
  except (OSError, StopIteration):
    return None


def _file(data: bytes) -> int:
  file = os.memfd_create("input")
  with open(file, "wb", closefd=False) as stream:
    stream.write(data)
  os.lseek(file, 0, os.SEEK_SET)
  return file


def _end_all(pid: int) -> tuple[int, float]:
  """Kill every other process of the namespace; return the exit status of `pid`, and the CPU time of all."""
  exit_status, cpu_seconds = 0, 0.0
  while True:
    with contextlib.suppress(ProcessLookupError):
      os.kill(-1, signal.SIGKILL)
    try:
      ended_pid, status, usage = os.wait3(0)
    except ChildProcessError:
      return exit_status, cpu_seconds
    cpu_seconds += usage.ru_utime + usage.ru_stime
    if ended_pid == pid:
      exit_status = status
