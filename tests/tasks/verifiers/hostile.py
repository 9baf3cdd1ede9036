"""A verifier that does what a response says."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time

from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifiers.errors import CannotVerify

kept = []


def obey(response: str, entry: dict, *, right: float) -> Verdict:
  if response == "loop":
    while True:
      pass
  if response == "power":  # no other thread runs, and no signal handler
    entry["pids"].write_text(str(os.getpid()))
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
    process = subprocess.Popen(["sleep", "600"])
    entry["pids"].write_text(str(process.pid))
    time.sleep(600)
  if response == "keep":
    kept.append(bytearray(80 * 2**20))
  if response == "worker":
    return Verdict(float(os.getpid()), {"jax": float("jax" in sys.modules)})
  return Verdict(right if response == entry["answer"] else 0.0, {"length": float(len(response))})
