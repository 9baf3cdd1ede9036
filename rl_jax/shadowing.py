"""`kernels` is also the name of another distribution: the first import says so, before anything odd happens."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def check_kernels() -> None:
  """Raises ImportError unless `import kernels` gives the package that lies beside rl_jax."""
  ours = Path(__file__).resolve().parents[1] / "kernels"
  spec = importlib.util.find_spec("kernels")
  if spec is None:
    raise ImportError(f"rl_jax's own package 'kernels' is not found (expected {ours}): install rl_jax again")
  # A package without __init__.py has no origin but still its folders; a lone kernels.py has an origin only.
  folders = [Path(folder).resolve() for folder in spec.submodule_search_locations or [spec.origin or "built-in"]]
  if ours not in folders[:1]:
    raise ImportError(
      f"'kernels' would be imported from {folders[0]}, but rl_jax needs its own in {ours}: "
      "uninstall the other one (pip uninstall kernels) or take its folder off PYTHONPATH"
    )
