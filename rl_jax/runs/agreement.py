"""Agreement of a repeated run with its record: bit-identical on one platform, within a tolerance on another.

One platform means the same CPU model and instruction sets, threads, devices, versions of numerical packages, XLA flags
and JAX settings. The config, including the number of seeds, is the run's own. On another platform rounding differs,
which eventually changes single sampled tokens and then everything after them. There, the requirements are:
  - training metrics of iteration 1 are within `FIRST` * max(1, |recorded|), if the start is bit-identical;
  - the last held-out accuracy, averaged over seeds, is within 2 (s + 0.5 / sqrt(n)) of the recorded one, where s is the
    largest standard deviation over seeds in the record and n the number of sampled answers of one seed: 0.5 / sqrt(n)
    is the largest standard error of a share of n answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rl_jax.runs.metric_names import ACCURACY
from rl_jax.runs.statistics import mean, spread

FIRST = 1e-3

_MACHINE = ("cpu_model", "cpu_features_sha256", "cpu_threads_allowed", "devices")
_PACKAGES = (
  "jax", "jaxlib", "libtpu", "jax-cuda12-plugin", "jax-cuda13-plugin", "flax", "optax", "numpy", "ml-dtypes",
)  # fmt: skip
_FLAGS = (
  "XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
)  # fmt: skip

Line = Mapping[str, Any]
"""A line of metrics.jsonl: "kind", "iteration", and a list with a number per seed for each metric."""


class Departure(NamedTuple):
  """First number that differs from the record."""

  kind: str
  iteration: int
  metric: str
  seed: int | None
  """Index among the run's seeds; None: the mean over them."""
  recorded: float | None
  measured: float | None
  """None: the metric is missing."""
  allowed: float
  """Allowed difference; 0: none."""

  def __str__(self) -> str:
    whose = "mean over seeds" if self.seed is None else f"seed {self.seed}"
    number = lambda value: "missing" if value is None else repr(value)
    bound = f"allowed difference {self.allowed:.3g}" if self.allowed else "want bit-identical"
    return (
      f"departs at iteration {self.iteration}, {self.kind} {self.metric}, {whose}: {number(self.recorded)} recorded, "
      f"{number(self.measured)} here ({bound})"
    )


def differences(recorded: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
  """Differences between two launches' platforms, as "jax: 0.10.2, here 0.12.0". Unrecorded values are left out."""
  left, right = _platform(recorded), _platform(current)
  return [f"{name}: {left[name]}, here {right[name]}" for name in left if name in right and left[name] != right[name]]


def _platform(launch: Mapping[str, Any]) -> dict[str, Any]:
  platform = {name: launch[name] for name in _MACHINE if launch.get(name) is not None}
  if launch.get("packages") is not None:
    platform |= {name: launch["packages"].get(name, "none") for name in _PACKAGES}
  if launch.get("flags") is not None:
    platform |= {name: launch["flags"].get(name, "") for name in _FLAGS}
  return platform | (launch.get("settings") or {})


def departure(
  recorded: Line, measured: Line, *, tolerance: float = 0.0, rounded: Callable[[float], float] | None = None
) -> Departure | None:
  """First number of a recorded line that differs in the measured line.

  Args:
    tolerance: allows |recorded - measured| up to tolerance * max(1, |recorded|); 0: bit-identical, NaN equals NaN.
    rounded: rounding of the recorded numbers; None: they are exact.
  """
  for name, values in recorded.items():
    if name in ("kind", "iteration"):
      continue
    measured_values = measured.get(name) or [None] * len(values)
    for seed, (expected, other) in enumerate(zip(values, measured_values, strict=True)):
      allowed = tolerance * max(1.0, abs(expected)) if expected == expected else 0.0
      if other is None or not _agree(expected, other if rounded is None else rounded(other), allowed):
        return Departure(recorded["kind"], recorded["iteration"], name, seed, expected, other, allowed)
  return None


def _agree(recorded: float, value: float, allowed: float) -> bool:
  return recorded == value or (recorded != recorded and value != value) or abs(recorded - value) <= allowed


def within_seed_spread(recorded: Sequence[Line], measured: Line, answers: int) -> Departure | None:
  """Departure of an evaluation's accuracy, averaged over seeds, from the last recorded one; None within the spread.

  Args:
    recorded: evaluations in order; their largest spread counts.
    measured: evaluation of the same iteration as the last of them.
    answers: number of sampled answers of one seed in one evaluation.
  """
  last = recorded[-1]
  if ACCURACY not in last:
    return None
  spreads = [spread(line[ACCURACY]) for line in recorded if len(line.get(ACCURACY, ())) > 1]
  allowed = 2 * (max(filter(math.isfinite, spreads), default=0.0) + 0.5 / math.sqrt(answers))
  expected, value = mean(last[ACCURACY]), mean(measured[ACCURACY])
  if _agree(expected, value, allowed):
    return None
  return Departure(last["kind"], last["iteration"], ACCURACY, None, expected, value, allowed)
