"""Compare every output of every golden case with what the kernels give.

`tests/kernels/papers/<key>.py` says how: `compute(case name, inputs)` returns outputs by name, inputs are arrays where
they were lists. Optional: `SKIPPED`, (case, output) to the reason why it is not compared; `MASKED`, (case, output) to
the mask input outside which the reference holds something else than 0.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

FOLDER = Path(__file__).parents[1] / "goldens"
KEYS = sorted(path.stem for path in FOLDER.glob("*.json"))
TOLERANCES = {"float32": 1e-5, "float64": 1e-10}


def check(key: str, *, precision: str) -> None:
  """Compare tests/goldens/<key>.json, |a - b| <= tolerance max(1, |b|), and print what was compared.

  An output that is neither computed nor skipped is a failure, and so is a computed or skipped name that does not exist.
  """
  paper = importlib.import_module(f"tests.kernels.papers.{key}")
  skipped, masked = getattr(paper, "SKIPPED", {}), getattr(paper, "MASKED", {})
  cases = json.loads((FOLDER / f"{key}.json").read_text())
  inputs = {case["name"]: case["inputs"] for case in cases}
  expected = {(case["name"], name): value for case in cases for name, value in case["outputs"].items()}
  with jax.enable_x64(precision == "float64"):
    actual = {
      (case["name"], name): value
      for case in cases
      if any((case["name"], name) not in skipped for name in case["outputs"])
      for name, value in paper.compute(
        case["name"], {k: _array(v, precision) for k, v in case["inputs"].items()}
      ).items()
    }
  missing = sorted(expected.keys() - actual.keys() - set(skipped))
  unknown = sorted((actual.keys() | set(skipped)) - expected.keys())
  assert not missing and not unknown, f"{key}: not compared {missing}, unknown {unknown}"
  for name, value in actual.items():
    mask = np.asarray(inputs[name[0]][masked[name]]) if name in masked else 1.0
    _compare(value, expected[name], mask, TOLERANCES[precision], (key, *name))
  used = len({case for case, _ in actual})
  print(f"golden {key} {precision}: {used}/{len(cases)} cases, {len(actual)}/{len(expected)} outputs")
  for (case, output), reason in sorted(skipped.items()):
    print(f"golden {key} {precision}: not used: {case}, {output}: {reason}")
  for (case, output), mask in sorted(masked.items()):
    print(f"golden {key} {precision}: on unmasked slots only ({mask}): {case}, {output}")


def _compare(value: Any, reference: Any, mask: Any, tolerance: float, where: tuple) -> None:
  """One output: an array, or what holds arrays (a dict, a list of records, a ragged list), entry by entry."""
  if isinstance(reference, dict):
    assert set(value) == set(reference), (where, set(value), set(reference))
    for name, entry in reference.items():
      _compare(value[name], entry, mask, tolerance, (*where, name))
  elif isinstance(reference, list) and not _rectangular(reference):
    assert len(value) == len(reference), (where, len(value), len(reference))
    for index, entry in enumerate(reference):
      _compare(value[index], entry, mask, tolerance, (*where, index))
  elif reference is None or isinstance(reference, str):
    assert value == reference, (where, value, reference)
  else:
    value, reference = np.asarray(value), np.asarray(reference, np.float64) * mask
    assert value.shape == reference.shape, (where, value.shape, reference.shape)
    error = np.abs(value.astype(np.float64) - reference) / np.maximum(1, np.abs(reference))
    assert error.max(initial=0) <= tolerance, (where, error.max())


def _rectangular(value: list) -> bool:
  try:
    return np.asarray(value).dtype.kind in "iubf"
  except ValueError:  # ragged
    return False


def _array(value: Any, precision: str) -> Any:
  """Lists become arrays of the precision (integers stay integers); ragged lists and scalars stay as they are."""
  if not isinstance(value, list) or not _rectangular(value):
    return value
  array = np.asarray(value)
  return jnp.asarray(array if array.dtype.kind in "iub" else array.astype(precision))
