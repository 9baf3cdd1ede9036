"""All kernels under the invariance suites: every module of `registered/` lists those of one family as `KERNELS`.

`invariances/test_public.py` fails while a public function of `kernels/` has no entry.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from tests.kernels.kernel import Kernel as Kernel
from tests.kernels.kernel import quick_jit as quick_jit

FAMILIES = sorted(info.name for info in pkgutil.iter_modules([str(Path(__file__).with_name("registered"))]))
KERNELS = [
  kernel for name in FAMILIES for kernel in importlib.import_module(f"tests.kernels.registered.{name}").KERNELS
]
FUNCTIONS = list({kernel.public or kernel.function: kernel for kernel in reversed(KERNELS)}.values())[::-1]
"""The first kernel of each function; the others are the same one with other options."""
