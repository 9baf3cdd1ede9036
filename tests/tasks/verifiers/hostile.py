"""A verifier that does what a response says."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import tempfile
import time

from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifiers.errors import CannotVerify

kept = []


def killed_once(entry: dict) -> Verdict:
  """End its process unless the folder for temporary files says that another has been ended."""
  marker = os.path.join(tempfile.gettempdir(), entry["name"])
  if not os.path.exists(marker):
    open(marker, "w").close()
    os.kill(os.getpid(), 9)
  return Verdict(0.5)


def reached() -> float:
  """Number of forbidden actions that succeed in a worker."""

  def network():
    socket.create_connection(("127.0.0.1", 1), timeout=1).close()

  def root():
    assert os.getuid() == 0

  attempts = (
    socket.socket, network, root,
    lambda: open("/etc/passwd").close(),
    lambda: os.kill(1, 9),
    lambda: os.listdir("/home"),
    lambda: open(os.path.join(os.path.dirname(__file__), "written"), "w").close(),
    lambda: open("/usr/written", "w").close(),
    lambda: os.setuid(0),
  )  # fmt: skip
  done = 0
  for attempt in attempts:
    try:
      attempt()
      done += attempt is not attempts[4]  # a signal to the first process is accepted and does nothing
    except (OSError, AssertionError):
      continue
  return float(done)


def obey(response: str, entry: dict, *, right: float) -> Verdict:
  if response == "loop":
    while True:
      pass
  if response == "power":  # no other thread runs, and no signal handler
    if "fd" in entry:
      os.write(entry["fd"], b"x")
    return Verdict(float(9**9**9))
  if response == "print":
    while True:
      print("x" * 1000, flush=True)
  if response == "memory":
    return Verdict(float(len(bytearray(10 * 2**30))))
  if response == "crash":
    os._exit(3)
  if response == "segfault":
    ctypes.string_at(0)
  if response == "exit":
    sys.exit("a verifier must not")
  if response == "raise":
    raise ValueError("no")
  if response == "nan":
    return Verdict(float("nan"))
  if response == "cannot":
    raise CannotVerify("the verifier lacks a thing")
  if response == "child":
    named = f"import ctypes, time; ctypes.CDLL(None).prctl(15, b{entry['name']!r}, 0, 0, 0); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", named])
    time.sleep(600)
  if response == "sleep":
    time.sleep(600)
  if response == "deep":
    return obey(response, entry, right=right)
  if response == "once":  # the first process that reads it is killed, as by the machine
    return killed_once(entry)
  if response == "environment":
    return Verdict(1.0, {name: 1.0 for name in os.environ})
  if response == "reach":
    return Verdict(reached())
  if response == "keep":
    kept.append(bytearray(80 * 2**20))
  if response == "worker":
    return Verdict(float(os.getpid()), {"jax": float("jax" in sys.modules)})
  return Verdict(right if response == entry["answer"] else 0.0, {"length": float(len(response))})
