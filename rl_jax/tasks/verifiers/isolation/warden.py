"""The process that confines others. It has the rights of the trainer, runs no code of a model, and starts two kinds.

A worker: a command that scores responses, without network, with a read-only view of Python's folders and a user of its
own. A sandbox: the first process of a tighter set of namespaces, which runs programs (`execution`). The warden starts
the sandbox with the first program and keeps it, as making one costs ten times a program. When the warden ends, for
whatever reason, the kernel ends all that it has started.

A request for a program is a datagram that carries one end of a socket pair; request and answer go over that pair, so
that what is left of a process that died while it waited is not taken for the answer to another.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

from rl_jax.tasks.verifiers import service, wire
from rl_jax.tasks.verifiers.isolation import cgroup, interpreter, namespaces, seccomp, system
from rl_jax.tasks.verifiers.isolation.execution import STARVED, Executor, Job
from rl_jax.tasks.verifiers.isolation.namespaces import User, View

GRACE_SECONDS = 20.0
"""Time that a sandbox may take beyond that of its program."""
SCRATCH, SCRATCH_BYTES = "/scratch", 64 * 2**20
"""A worker's folder for temporary files. Not /tmp, which holds the verifiers of tests and notebooks."""


class Worker(NamedTuple):
  """A command to confine.

  Attributes:
    argv: with "{jobs}" in place of the number of the socket on which it asks for programs.
    environment: all of it.
    shown: folders that it sees, read-only.
    connection: socket on which it talks to its owner; a machine that cannot confine it says so there.
  """

  argv: list[str]
  environment: dict[str, str]
  shown: list[str]
  connection: int


def main(jobs_fd: int, lifeline: int, worker: dict[str, Any] | None = None) -> int:
  """Serve programs until the lifeline is cut; return the exit status of the worker, if there is one.

  Args:
    jobs_fd: datagram socket on which programs come where there is no worker.
    lifeline: pipe whose other end the owner holds open.
    worker: fields of a `Worker`.
  """
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's to handle
  process = None
  if worker is None:
    jobs = socket.socket(fileno=jobs_fd)
  else:
    jobs, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    process = _start(lambda: _confine(Worker(**worker), theirs.fileno()))
    theirs.close()
    os.close(worker["connection"])
  return _serve(jobs, lifeline, process)


def _serve(jobs: socket.socket, lifeline: int, process: int | None) -> int:
  programs, poll = _Programs(lifeline), select.poll()
  process_fd = None if process is None else os.pidfd_open(process)
  for fd in (jobs.fileno(), lifeline, process_fd):
    if fd is not None:
      poll.register(fd, select.POLLIN)
  while True:
    ready = {fd for fd, _ in poll.poll()}
    if lifeline in ready:
      return 0
    if process is not None and process_fd in ready:
      return _status(process)
    _, descriptors, _, _ = socket.recv_fds(jobs, 16, 4)
    for fd in descriptors:
      with socket.socket(fileno=fd) as asking:
        programs.answer(asking)


def _status(pid: int) -> int:
  """The exit status of a process as a shell gives it."""
  return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) % 256


def _start(run: Callable[[], Any]) -> int:
  """Start a process that ends with this one."""
  own = os.getpid()
  pid = os.fork()
  if pid == 0:
    try:
      system.prctl(system.SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
      if os.getppid() in (own, 0):  # 0: the first process of a namespace, whose parent is outside
        run()
    finally:
      os._exit(1)
  return pid


def _confine(worker: Worker, jobs: int) -> None:
  """Run the command in namespaces of its own; the process between has its exit status."""
  with socket.socket(fileno=worker.connection) as connection:
    try:
      user = namespaces.separate(2 * os.getppid())
      pid = _start(lambda: _become_worker(worker, user, jobs))
    except OSError as error:
      wire.send(connection, {"fatal": refused(error)})
      return
  os._exit(_status(pid))


def _become_worker(worker: Worker, user: User, jobs: int) -> None:
  try:
    namespaces.enter(View(namespaces.outermost(worker.shown), temporary=SCRATCH, processes=True))
    namespaces.make_temporary(user, SCRATCH_BYTES, SCRATCH)
    os.chdir(SCRATCH)
    namespaces.become(user)
    system.prctl(system.SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)  # the change of user took it away
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seccomp.install(forks=True)
    for fd in (worker.connection, jobs):
      os.set_inheritable(fd, True)
    argv = [text.replace("{jobs}", str(jobs)) for text in worker.argv]
    os.execve(argv[0], argv, worker.environment)
  except OSError as error:
    wire.send(socket.socket(fileno=worker.connection), {"fatal": refused(error)})


def refused(error: OSError) -> str:
  """One line for a machine that cannot confine a process."""
  return f"verifiers cannot be isolated here: {namespaces.why_not(error)}"


class _Programs:
  """The sandbox of this warden: made when the first program comes, and again when it has been lost."""

  def __init__(self, lifeline: int) -> None:
    self._lifeline = lifeline
    self._process: int | None = None
    self._sandbox: socket.socket | None = None

  def answer(self, asking: socket.socket) -> None:
    """Read a request, a `Job` and perhaps the address of a service to run it at; send the execution, or a refusal."""
    try:
      asking.settimeout(GRACE_SECONDS)
      request = wire.receive(asking)
      address = request.pop("service", "")
      job = Job(**request)
      answer = service.execute(address, job) if address else self._run(job, asking)
      wire.send(asking, answer)
    except (wire.Broken, ValueError, RecursionError):  # who asked has died, or the answer cannot be put into words
      return

  def _run(self, job: Job, asking: socket.socket) -> dict[str, Any]:
    try:
      sandbox = self._sandbox or self._make()
      wire.send(sandbox, job._asdict())
      poll = select.poll()
      for fd in (sandbox.fileno(), asking.fileno(), self._lifeline):
        poll.register(fd, select.POLLIN)
      ready = [fd for fd, _ in poll.poll(1000 * (STARVED * job.seconds + GRACE_SECONDS))]
      if sandbox.fileno() in ready:
        return wire.receive(sandbox)
      self._end()
      return {"refused": "the sandbox was given up"}
    except OSError as error:
      self._end()
      return {"refused": namespaces.why_not(error)}
    except wire.Broken:
      self._end()
      return {"refused": "the sandbox has died"}

  def _make(self) -> socket.socket:
    """Start the sandbox. Raises: OSError: the machine cannot."""
    view, group = interpreter.view(), cgroup.make()
    ours, theirs = socket.socketpair()
    self._process = _start(lambda: _sandbox(theirs, view, group))
    theirs.close()
    ours.settimeout(GRACE_SECONDS)
    self._sandbox = ours
    reply = wire.receive(ours)
    if "refused" in reply:
      self._end()
      raise OSError(reply["errno"], reply["refused"])
    return ours

  def _end(self) -> None:
    if self._process is not None and self._sandbox is not None:
      os.kill(self._process, signal.SIGKILL)
      os.waitpid(self._process, 0)
      self._sandbox.close()
    self._process = self._sandbox = None


def _sandbox(connection: socket.socket, view: View, group: cgroup.Group | None) -> None:
  """Leave the namespaces of the host; a child is the first process of the new ones."""
  try:
    user = namespaces.separate(2 * os.getppid() + 1)
    os.waitpid(_start(lambda: _execute(connection, user, view, group)), 0)
  except OSError as error:
    wire.send(connection, {"refused": error.strerror or str(error), "errno": error.errno})
  finally:
    if group is not None:
      group.close()


def _execute(connection: socket.socket, user: User, view: View, group: cgroup.Group | None) -> None:
  try:
    clock = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    namespaces.enter(view)
    executor = Executor(interpreter.path(), user, clock, group)
    wire.send(connection, {})
  except OSError as error:
    wire.send(connection, {"refused": error.strerror or str(error), "errno": error.errno})
    return
  while True:
    job = Job(**wire.receive(connection))
    try:
      wire.send(connection, executor.run(job)._asdict())
    except OSError as error:  # a want of memory or processes for now, as it could be made before
      wire.send(connection, {"refused": error.strerror or str(error)})
