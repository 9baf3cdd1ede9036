"""Rows over `data` and the vocabulary over `tensor` of 8 devices: `python -m tests.kernels.logprobs.placed`.

Prints what differs from one device, and each collective that moves more than it may; exits 1 if there is any. Forward
that is [N] arrays over the vocabulary's axis alone; backward also the sum of d hidden [N, D] over it, and of d matrix
over the rows' axis.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding

from rl_jax.kernels.logprobs import Placement, linear_generalized_jsd, linear_logprobs
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


class Case(NamedTuple):
  """A function of rows and matrices: which of its arguments are matrices, and those that it is differentiated by."""

  name: str
  function: Callable[..., list[jax.Array]]
  arguments: list[np.ndarray]
  matrices: tuple[int, ...]
  layout: str = "DV"
  top_k: int = 0
  by: tuple[int, ...] = (0, 1)


def cases(rng: np.random.Generator) -> list[Case]:
  """Logprobs in both layouts, one with the largest of them, and a divergence of two models of two widths."""
  targets, mask = rng.integers(0, V, N).astype(np.int32), rng.random(N) < 0.8
  hidden = lambda width: rng.normal(size=(N, width)).astype(np.float32)
  matrix = lambda *shape: (rng.normal(size=shape) / 5).astype(np.float32)
  options = {"temperature": 0.7, "soft_cap": 3.0, "implementation": "chunked"}

  def logprobs(*arguments, placement, layout, top_k):
    found = linear_logprobs(*arguments, layout=layout, top_k=top_k, placement=placement, **options)
    return list(found[: 4 if top_k else 2])

  def divergence(*arguments, placement):
    return [linear_generalized_jsd(*arguments, layout="DV", beta=0.3, placement=placement, **options)]

  return [
    Case("DV", partial(logprobs, layout="DV", top_k=0), [hidden(D), matrix(D, V), targets, mask], (1,)),
    Case("VD", partial(logprobs, layout="VD", top_k=3), [hidden(D), matrix(V, D), targets, mask], (1,), "VD", 3),
    Case("divergence", divergence, [hidden(D), matrix(D, V), hidden(D - 5), matrix(D - 5, V), mask], (1, 3)),
  ]


def main() -> int:
  devices = np.array(jax.devices()[:DEVICES]).reshape(*SIZES.values())
  mesh = Mesh(devices, tuple(SIZES), axis_types=(AxisType.Auto,) * len(SIZES))
  placement, rng, failures, total = Placement(mesh, ("data", "fsdp"), "tensor"), np.random.default_rng(0), [], 0
  weights = rng.normal(size=(2, N)).astype(np.float32)
  for case in cases(rng):

    def everything(*arguments, placement, case=case):
      def loss(*arguments):
        found = case.function(*arguments, placement=placement)
        return sum((w * x).sum() for w, x in zip(weights, found[:2], strict=False)), found

      return jax.grad(loss, argnums=case.by, has_aux=True)(*arguments)

    rows, whole = placement.specs(Readout(case.layout))
    spread = [
      jax.device_put(x, NamedSharding(mesh, whole if place in case.matrices else rows))
      for place, x in enumerate(case.arguments)
    ]
    programs = {"forward": case.function, "backward": everything}
    # Of each device: 2 statistics of its rows at a time, or the k largest of every shard; then the two gradients.
    rows_here, shards = N // SIZES["data"], SIZES["tensor"]
    limits = {"forward": rows_here * max(2, case.top_k * shards)}
    limits["backward"] = max(limits["forward"], rows_here * D, D * V // shards)
    for name, program in programs.items():
      compiled = quick_jit(partial(program, placement=placement)).lower(*spread).compile()
      collectives, size = largest(compiled.as_text())
      total += collectives
      if size > limits[name]:
        failures.append(f"{case.name} {name}: a collective of {size} entries, {limits[name]} may move")
      expected = quick_jit(partial(program, placement=None))(*map(jnp.asarray, case.arguments))
      for a, b in zip(jax.tree.leaves(compiled(*spread)), jax.tree.leaves(expected), strict=True):
        error = np.abs(np.asarray(a) - np.asarray(b)).max() / max(1, np.abs(b).max())
        if error > 1e-6:
          failures.append(f"{case.name} {name}: differs by {error}")
  print(f"{total} collectives, {len(failures)} failures")
  print("\n".join(failures))
  return 1 if failures or not total else 0


if __name__ == "__main__":
  sys.exit(main())
