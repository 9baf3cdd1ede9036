"""Kernels with the batch axis over 8 devices: `python -m tests.kernels.sharded together`, in a process of its own.

`together`: each function whose rows depend on one another; `others`: functions of single rows, and other options.

Prints what differs from one device, and each collective that moves more than group-sized data; exits 1 if there is any.
"""

from __future__ import annotations

import math
import re
import sys

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from tests import compilation
from tests.kernels.devices import COLLECTIVE, DEVICES
from tests.kernels.registry import FUNCTIONS, KERNELS, quick_jit

B, T = 16, 33
LARGEST = B * 4  # [B], and [B, K] or [B, S] of SIZES, may move; [B, T] only where a kernel says so


def moved(text: str, limit: int = LARGEST) -> list[str]:
  """The collectives of a compiled program with an operand or result above the limit."""
  found = []
  for shapes, kind, _ in COLLECTIVE.findall(text):
    sizes = [math.prod(int(n) for n in dims.split(",") if n) for dims in re.findall(r"\w+\[([\d,]*)\]", shapes)]
    if max(sizes) > limit:
      found.append(f"{kind} {shapes}")
  return found


def main(which: str) -> int:
  compilation.share_context()
  jax.config.update("jax_enable_x64", True)
  together = {id(kernel) for kernel in FUNCTIONS if kernel.scope != "row"}
  kernels = [kernel for kernel in KERNELS if (id(kernel) in together) == (which == "together")]
  mesh = Mesh(np.array(jax.devices()[:DEVICES]), ("data",), axis_types=(AxisType.Auto,))
  failures, collectives = [], 0
  for kernel in kernels:
    # float64, so that the order of a sum can neither fail the comparison nor excuse a difference.
    arrays = kernel.make(np.random.default_rng(0), B=B, T=T)
    arrays = {name: x.astype(np.float64) if x.dtype == np.float32 else x for name, x in arrays.items()}
    if "group_ids" in arrays:
      arrays["group_ids"] = (np.arange(B, dtype=np.int32) * 5) % 4 + 100  # every group on several devices
    spread = {
      name: jax.device_put(x, NamedSharding(mesh, PartitionSpec("data" if kernel.axes[name][:1] == "B" else None)))
      if x.ndim
      else x
      for name, x in arrays.items()
    }
    program = quick_jit(lambda a, kernel=kernel: (kernel.call(a), kernel.gradient_of(a) if kernel.gradients else {}))
    compiled = program.lower(spread).compile()
    text = compiled.as_text()
    collectives += len(COLLECTIVE.findall(text))
    limit = max(LARGEST, math.prod({"B": B, "T": T}[axis] for axis in kernel.moves))
    failures += [f"{kernel.name}: moves {each}" for each in moved(text, limit)]
    for a, b in zip(jax.tree.leaves(compiled(spread)), jax.tree.leaves(program(arrays)), strict=True):
      a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
      if not np.allclose(a, b, rtol=1e-10, atol=1e-10):
        failures.append(f"{kernel.name}: differs by {np.abs(a - b).max()}")
  print(f"{len(kernels)} kernels on {DEVICES} devices, {collectives} collectives, {len(failures)} failures")
  print("\n".join(failures))
  # Without a collective nothing was sharded, and the check above would prove nothing.
  return 1 if failures or not collectives else 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1]))
