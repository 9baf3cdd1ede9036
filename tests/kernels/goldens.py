"""Compares every output of every golden case with what the kernels give."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

FOLDER = Path(__file__).parents[1] / "goldens"
TOLERANCES = {"float32": 1e-5, "float64": 1e-10}


def check(
  key: str,
  compute: Callable[[str, dict[str, Any]], dict[str, Any]],
  *,
  precision: str,
  skipped: Collection[tuple[str, str]] = (),
  masked: Mapping[tuple[str, str], str] = MappingProxyType({}),
) -> tuple[int, int]:
  """Runs tests/goldens/<key>.json, |a - b| <= tolerance max(1, |b|); returns (compared, total) outputs.

  `compute(case name, inputs)` gives outputs by name; inputs are arrays where they were lists. An output that is neither
  computed nor in `skipped` as (case, output) is a failure, and so is a computed or skipped name that does not exist.
  `masked` names the mask input of outputs whose reference holds something else than 0 in masked slots.
  """
  cases = json.loads((FOLDER / f"{key}.json").read_text())
  inputs = {case["name"]: case["inputs"] for case in cases}
  expected = {(case["name"], name): value for case in cases for name, value in case["outputs"].items()}
  with jax.enable_x64(precision == "float64"):
    actual = {
      (case["name"], name): np.asarray(value)
      for case in cases
      for name, value in compute(case["name"], {k: _array(v, precision) for k, v in case["inputs"].items()}).items()
    }
  missing = sorted(expected.keys() - actual.keys() - set(skipped))
  unknown = sorted((actual.keys() | set(skipped)) - expected.keys())
  assert not missing and not unknown, f"{key}: not compared {missing}, unknown {unknown}"
  for name, value in actual.items():
    reference = np.asarray(expected[name], np.float64)
    if name in masked:
      reference = reference * np.asarray(inputs[name[0]][masked[name]])
    assert value.shape == reference.shape, (key, *name, value.shape, reference.shape)
    error = np.abs(value.astype(np.float64) - reference) / np.maximum(1, np.abs(reference))
    assert error.max(initial=0) <= TOLERANCES[precision], (key, *name, error.max())
  print(
    f"{key} {precision}: {len(actual)}/{len(expected)} golden outputs compared, "
    f"skipped {sorted(skipped)}, on unmasked slots only {sorted(masked)}"
  )
  return len(actual), len(expected)


def _array(value, precision):
  """Lists become arrays of the precision (integers stay integers); scalars stay as they are."""
  if not isinstance(value, list):
    return value
  array = np.asarray(value)
  return jnp.asarray(array if array.dtype.kind in "iub" else array.astype(precision))
