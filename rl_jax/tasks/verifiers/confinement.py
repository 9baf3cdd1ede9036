"""Confinement of a worker: its command, environment and visible folders."""

from __future__ import annotations

import functools
import os
import socket
import sys

from rl_jax.tasks.verifiers import wire
from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.isolation.launch import ROOT, Warden
from rl_jax.tasks.verifiers.isolation.warden import SCRATCH, Worker

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/nix/store", "/etc/ld.so.cache", "/etc/localtime")
PASSED = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "RL_JAX_CACHE", "OPENBLAS_CORETYPE")
"""Environment variables passed on to workers; others are withheld, since they may hold tokens."""
_SET = {
  "HOME": SCRATCH,
  "TMPDIR": SCRATCH,
  "JAX_PLATFORMS": "cpu",
  "CUDA_VISIBLE_DEVICES": "",
  "OMP_NUM_THREADS": "1",  # threads do not outlive the fork that scores
  "OPENBLAS_NUM_THREADS": "1",
  "PYTHONHASHSEED": "0",  # so that a verdict that depends on set order is the same in each run
  "PYTHONDONTWRITEBYTECODE": "1",
}
PROBE_SECONDS = 60.0


def environment() -> dict[str, str]:
  """The environment of a worker."""
  return {name: os.environ[name] for name in PASSED if name in os.environ} | _SET


def command(module: str, connection: int, more: str) -> list[str]:
  """The command of a worker.

  Args:
    module: where its `main` is, which takes what `rl_jax.tasks.verifiers.worker.main` takes.
    more: further arguments of `main`.
  """
  return _python(f"import {module} as worker; sys.exit(worker.main({connection}, {more}))")


def worker(module: str, connection: int) -> Worker:
  """A worker for the warden to confine."""
  return Worker(command(module, connection, "jobs_fd={jobs}"), environment(), _shown(), connection)


def _python(code: str) -> list[str]:
  return [sys.executable, "-c", f"import sys; sys.path[:] = {_search_path()!r}; {code}"]


def _search_path() -> list[str]:
  return [path or os.getcwd() for path in sys.path]


def _shown() -> list[str]:
  """Folders of Python, its search path, and packages loaded from elsewhere, as editable ones are."""
  python = [sys.prefix, sys.base_prefix, os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix)]
  files = [getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if "." not in name]
  own = [f"{ROOT}/rl_jax", *(os.path.realpath(f"{ROOT}/rl_jax/{link}") for link in ("kernels", "experiments"))]
  folders = sorted({os.path.dirname(file) for file in files if file}) + own
  return [os.path.abspath(path) for path in [*_SYSTEM, *python, *_search_path(), *folders]]


_PROBE = """
import os, socket
problems = []
try:
  socket.socket()
  problems.append("no network")
except OSError:
  pass
for path in ("/usr", "/", sys.base_prefix, sys.prefix):
  if os.access(path, os.W_OK):
    problems.append(f"a read-only view ({path})")
if os.getuid() == 0:
  problems.append("a user of its own")
if set(os.environ) - set(ALLOWED):
  problems.append("an environment of its own")
from rl_jax.tasks.verifiers import wire
wire.send(socket.socket(fileno=FD), {"problems": problems})
"""


@functools.cache
def check() -> None:
  """Show, once per process, that workers can be confined here.

  Raises: CannotVerify: they cannot; the line says what is missing and what to do.
  """
  refuse = "{}, or set task.isolation=none to score responses with the rights of this process"
  if not sys.platform.startswith("linux"):
    raise CannotVerify(refuse.format(f"verifiers cannot be isolated here: it needs Linux, this is {sys.platform}"))
  ours, theirs = socket.socketpair()
  ours.settimeout(PROBE_SECONDS)
  with ours, theirs:
    allowed = [*environment(), "LC_CTYPE"]
    code = _PROBE.replace("ALLOWED", repr(allowed)).replace("FD", str(theirs.fileno()))
    worker = Worker(_python(f"exec({code!r})"), environment(), _shown(), theirs.fileno())
    warden = Warden(worker=worker)
    theirs.close()
    try:
      answer = wire.receive(ours)
    except wire.Broken as error:
      answer = {"fatal": f"verifiers cannot be isolated here: the probe has ended ({error})"}
    finally:
      warden.close()
  if answer.get("problems"):
    answer["fatal"] = f"verifiers cannot be isolated here: no proof of {', '.join(answer['problems'])}"
  if "fatal" in answer:
    raise CannotVerify(refuse.format(answer["fatal"]))
