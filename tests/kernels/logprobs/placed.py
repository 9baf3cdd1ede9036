"""Rows over `data` and the vocabulary over `tensor` of 8 devices: `python -m tests.kernels.logprobs.placed`.

Prints what differs from one device, and each collective that moves more than it may; exits 1 if there is any. Forward
that is [N] arrays over the vocabulary's axis alone; backward also the sum of d hidden [N, D] over it, and of d matrix
over the rows' axis.
"""

from __future__ import annotations

import math
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding

from rl_jax.kernels.logprobs import Placement, linear_logprobs
from rl_jax.kernels.logprobs.readout import Readout
from tests.kernels.devices import COLLECTIVE, DEVICES
from tests.kernels.kernel import quick_jit

N, D, V = 64, 24, 304
SIZES = {"data": 2, "fsdp": 1, "tensor": 4}


def largest(text: str) -> tuple[int, int]:
  """Number of collectives of a program, and the entries of the largest array in any."""
  found = COLLECTIVE.findall(text)
  shapes = (shape for shapes, _, _ in found for shape in re.findall(r"\w+\[([\d,]*)\]", shapes))
  sizes = [math.prod(int(n) for n in shape.split(",") if n) for shape in shapes]
  return len(found), max(sizes, default=0)


def main() -> int:
  devices = np.array(jax.devices()[:DEVICES]).reshape(*SIZES.values())
  mesh = Mesh(devices, tuple(SIZES), axis_types=(AxisType.Auto,) * len(SIZES))
  placement, rng, failures, total = Placement(mesh, ("data", "fsdp"), "tensor"), np.random.default_rng(0), [], 0
  weights = rng.normal(size=(2, N)).astype(np.float32)
  targets, mask = rng.integers(0, V, N).astype(np.int32), rng.random(N) < 0.8
  for layout, top_k in (("DV", 0), ("VD", 3)):
    shape = (D, V) if layout == "DV" else (V, D)
    arrays = rng.normal(size=(N, D)).astype(np.float32), (rng.normal(size=shape) / 5).astype(np.float32)

    def outputs(hidden, matrix, targets, mask, placement, layout=layout, top_k=top_k):
      options = dict(layout=layout, temperature=0.7, soft_cap=3.0, top_k=top_k, placement=placement)
      return linear_logprobs(hidden, matrix, targets, mask, **options, implementation="chunked")

    def everything(*arguments, outputs=outputs):
      def loss(hidden, matrix, *rest):
        found = outputs(hidden, matrix, *rest)
        return (weights[0] * found.logprobs + weights[1] * found.entropies).sum(), found

      return jax.grad(loss, argnums=(0, 1), has_aux=True)(*arguments)

    rows, whole = placement.specs(Readout(layout))
    spread = [
      jax.device_put(x, NamedSharding(mesh, spec))
      for x, spec in zip((*arrays, targets, mask), (rows, whole, rows, rows), strict=True)
    ]
    programs = {"forward": outputs, "backward": everything}
    # Of each device: 2 statistics of its rows at a time, or the k largest of every shard; then the two gradients.
    rows_here, shards = N // SIZES["data"], SIZES["tensor"]
    limits = {"forward": rows_here * max(2, top_k * shards)}
    limits["backward"] = max(limits["forward"], rows_here * D, D * V // shards)
    for name, program in programs.items():
      lowered = quick_jit(lambda *a, program=program: program(*a, placement)).lower(*spread)
      compiled = lowered.compile()
      collectives, size = largest(compiled.as_text())
      total += collectives
      if size > limits[name]:
        failures.append(f"{layout} {name}: a collective of {size} entries, {limits[name]} may move")
      expected = quick_jit(lambda *a, program=program: program(*a, None))(*map(jnp.asarray, (*arrays, targets, mask)))
      for a, b in zip(jax.tree.leaves(compiled(*spread)), jax.tree.leaves(expected), strict=True):
        error = np.abs(np.asarray(a) - np.asarray(b)).max() / max(1, np.abs(b).max())
        if error > 1e-6:
          failures.append(f"{layout} {name}: differs by {error}")
  print(f"{total} collectives, {len(failures)} failures")
  print("\n".join(failures))
  return 1 if failures or not total else 0


if __name__ == "__main__":
  sys.exit(main())
