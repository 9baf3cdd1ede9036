"""Another package named kernels in the way: one clear line at the first import of rl_jax."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def import_rl_jax(*path: Path) -> subprocess.CompletedProcess:
  environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
  # -P: the working directory stays out of the path, as for an installed program.
  command = [sys.executable, "-P", "-c", "import rl_jax; print(rl_jax.__version__)"]
  return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_our_own_kernels_pass():
  result = import_rl_jax(ROOT)
  assert (result.returncode, result.stdout.strip()) == (0, "0.1.0"), result.stderr


@pytest.mark.parametrize("file", ["kernels/__init__.py", "kernels.py"])
def test_another_kernels_is_named(tmp_path, file):
  (tmp_path / file).parent.mkdir(exist_ok=True)
  (tmp_path / file).write_text("")
  result = import_rl_jax(tmp_path, ROOT)
  assert result.returncode == 1
  last = result.stderr.strip().splitlines()[-1]
  assert last.startswith("ImportError: 'kernels' would be imported from " + str(tmp_path / "kernels"))
  assert "pip uninstall kernels" in last


def test_missing_kernels_are_named(tmp_path):
  (tmp_path / "rl_jax").mkdir()
  for name in ("__init__.py", "shadowing.py"):
    (tmp_path / "rl_jax" / name).write_bytes((ROOT / "rl_jax" / name).read_bytes())
  result = import_rl_jax(tmp_path)
  # Where rl_jax is installed in the same environment, its kernels are found instead, and refused for this copy.
  assert result.returncode == 1 and "ImportError" in result.stderr and "kernels" in result.stderr
