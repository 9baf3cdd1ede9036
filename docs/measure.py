"""Measure the peak memory of experiments: python docs/measure.py grpo ppo. Results go to docs/memory.json.

Each experiment runs for a few iterations in its own process on the CPU, at full size and with short stages. Compilation
and evaluation, where memory peaks, are included.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs/memory.json"
STAGES = ("warm_start", "critic", "prover", "verifier")
CODE = """
import resource, sys
from rl_jax import train
status = train.main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(status)
"""


def arguments(name: str, stages: list[str]) -> list[str]:
  """Arguments of the short run of an experiment."""
  short = []
  for prefix in ("", *(f"stages.{stage}." for stage in stages)):
    short.append(f"--config.{prefix}num_iterations=4")
    short += [f"--config.{prefix}{section}.every_iterations=2" for section in ("logging", "evaluation", "checkpoint")]
  return [name, *short, "--config.logging.report=False"]


def peak(name: str) -> float:
  """Peak resident memory of the short run, in MiB."""
  sys.path.insert(0, str(ROOT))
  from rl_jax.configuration import configs

  stages = [stage for stage in STAGES if stage in configs.resolve(name).stages]
  with tempfile.TemporaryDirectory() as folder:
    command = [sys.executable, "-c", CODE, *arguments(name, stages), f"--workdir={folder}/runs/{name}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
  return int(done.stdout.split()[-1]) / 1024  # of Linux, in KiB


def main(argv: list[str]) -> int:
  """Measure the named experiments and add them to the file."""
  results = json.loads(FILE.read_text()) if FILE.exists() else {}
  for name in argv:
    results[name] = {"peak_mib": round(peak(name)), "arguments": arguments(name, [])[1:]}
    FILE.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    print(f"{name}: {results[name]['peak_mib']} MiB")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
