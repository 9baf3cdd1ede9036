"""All kernels under the invariance suites: what the test of each module of kernels lists at its foot as `KERNELS`.

`invariances/test_public.py` fails while a public function has no entry.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from tests.kernels.kernel import Kernel as Kernel
from tests.kernels.kernel import quick_jit as quick_jit

HERE = Path(__file__).parent
MODULES = sorted(path.relative_to(HERE.parents[1] / "kernels") for path in HERE.parents[1].glob("kernels/**/[!_]*.py"))
"""Modules of kernels."""
TESTS = [name for path in MODULES if (name := path.with_name(f"test_{path.name}")) and (HERE / name).exists()]


def _kernels(test: Path) -> list[Kernel]:
  name = ".".join(["tests.kernels", *test.with_suffix("").parts])
  return getattr(importlib.import_module(name), "KERNELS", [])


BY_TEST = {test: _kernels(test) for test in TESTS}
KERNELS = [kernel for kernels in BY_TEST.values() for kernel in kernels]
FUNCTIONS = list({kernel.public or kernel.function: kernel for kernel in reversed(KERNELS)}.values())[::-1]
"""The first kernel of each function; the others are the same one with other options."""
