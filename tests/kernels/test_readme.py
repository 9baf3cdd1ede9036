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
  assert "rl_jax" not in code


def test_the_table_names_every_module_and_nothing_else():
  named = set(re.findall(rf"`((?:{'|'.join(FAMILIES)})\.[\w.]+)`", README)) | {"merging"}
  modules = {
    info.name.removeprefix("kernels.")
    for info in pkgutil.walk_packages(rl_jax.kernels.__path__, "kernels.")
    if info.name.count(".") == 2 and info.name.split(".")[1] in FAMILIES
  }
  found = set()
  for name in named:
    module, _, function = name.partition(".")[2].partition(".")
    path = name if not function else f"{name.split('.')[0]}.{module}"
    assert not function or hasattr(importlib.import_module(f"kernels.{path}"), function), name
    importlib.import_module(f"kernels.{path}")
    found.add(path)
  assert modules - found == set(), "a module without a paper in the table"
