"""kernels/README.md: its loop learns, and its table names modules and functions that exist, and all of them."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import rl_jax.kernels

README = (Path(rl_jax.kernels.__file__).parent / "README.md").read_text()
FAMILIES = ("advantages", "rewards", "losses", "curricula")


def test_the_plain_loop_learns():
  (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
  names: dict = {}
  exec(code, names)  # noqa: S102
  assert names["rewards"].mean() > 0.9
  assert not [line for line in code.splitlines() if "rl_jax" in line.replace("rl_jax.kernels", "")]


def test_the_table_names_every_module_and_nothing_else():
  named = set(re.findall(rf"`((?:{'|'.join(FAMILIES)})\.[\w.]+)`", README)) | {"merging"}
  modules = {
    info.name.removeprefix("rl_jax.kernels.")
    for info in pkgutil.walk_packages(rl_jax.kernels.__path__, "rl_jax.kernels.")
    if info.name.count(".") == 3 and info.name.split(".")[2] in FAMILIES
  }
  found = set()
  for name in named:
    module, _, function = name.partition(".")[2].partition(".")
    path = name if not function else f"{name.split('.')[0]}.{module}"
    assert not function or hasattr(importlib.import_module(f"rl_jax.kernels.{path}"), function), name
    importlib.import_module(f"rl_jax.kernels.{path}")
    found.add(path)
  assert modules - found == set(), "a module without a paper in the table"
