"""A named peer's script, run outside of the repository, where our `kernels` would shadow another distribution's."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any


def results(name: str, script: str, python: str, *arguments: object) -> dict[str, Any]:
  """Results of a script of `peers/` by the name of the work; empty, after a printed line, if it cannot run.

  >>> results("rlax", "rlax_scans.py", "/nowhere/python", 8, 8, 1)
  rlax is left out: /nowhere/python does not run
  {}
  """
  file = Path(__file__).parent / "peers" / script
  with tempfile.TemporaryDirectory() as elsewhere:
    Path(elsewhere, script).write_text(file.read_text())
    command = [python, script, *map(str, arguments)]
    try:
      process = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
    except OSError:
      print(f"{name} is left out: {python} does not run")
      return {}
  if process.returncode:
    print(f"{name} is left out: {(process.stderr.strip().splitlines() or ['it failed without a word'])[-1]}")
    return {}
  return json.loads(process.stdout.splitlines()[-1])
