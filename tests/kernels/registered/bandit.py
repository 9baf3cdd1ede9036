"""DUMP's bandit: the state is two arrays, of N sources and W slots."""

from __future__ import annotations

from functools import wraps

from rl_jax.kernels.curricula import bandit
from tests.kernels.kernel import Kernel

STATE = {"windows": "NW", "counts": "N"}
BATCH = {"advantages": "B", "source_ids": "B", "mask": "B"}
DRAWS = {
  "windows": lambda rng, shape: rng.random(shape).astype("float32"),
  "counts": lambda rng, shape: rng.integers(0, 9, shape).astype("int32"),
  "source_ids": lambda rng, shape: rng.integers(-1, 3, shape).astype("int32"),
}
SIZES = {"N": 3, "W": 2}


def _on_arrays(function):
  @wraps(function)
  def call(windows, counts, **arrays):
    return function(bandit.Bandit(windows, counts), **arrays)

  return call


def _kernel(function, axes, options=None, **properties):
  return Kernel(
    _on_arrays(function),
    STATE | axes,
    options or {},
    scope="batch",
    public=function,
    draws=DRAWS,
    sizes=SIZES,
    **properties,
  )


KERNELS = [
  _kernel(bandit.update_bandit, BATCH, ordered=True, zero_masked=False),
  _kernel(bandit.learnability, {}, mask=None),
  _kernel(bandit.upper_confidence_bounds, {}, mask=None),
  _kernel(bandit.source_probabilities, {"mask": "N"}),
  _kernel(bandit.source_probabilities, {"mask": "N"}, {"tau": 0}),
]
