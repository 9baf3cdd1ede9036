"""A verifier that does what a response says."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time

from rl_jax.tasks.scoring import Verdict


def obey(response: str, entry: dict, *, right: float) -> Verdict:
  if response == "loop":
    while True:
      pass
  if response == "crash":
    os._exit(3)
  if response == "segfault":
    ctypes.string_at(0)
  if response == "raise":
    raise ValueError("no")
  if response == "child":
    process = subprocess.Popen(["sleep", "600"])
    entry["pids"].write_text(str(process.pid))
    time.sleep(600)
  return Verdict(right if response == entry["answer"] else 0.0, {"length": float(len(response))})
