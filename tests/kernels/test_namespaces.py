"""Every family shows its public functions and classes under its own name, and nothing else."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections import Counter
from types import ModuleType

import pytest

from rl_jax import kernels

FAMILIES = {name: module for name, module in vars(kernels).items() if hasattr(module, "__path__")}
FAMILIES.pop("benchmarks", None)  # commands
INSIDE = {"Chunked", "Outputs", "PallasGPU", "PallasTPU", "Readout", "Recomputed", "RowGradients", "RowStatistics"}
"""Parts of `linear_logprobs` that its implementations share."""


def modules(family: ModuleType) -> list[ModuleType]:
  names = [info.name for info in pkgutil.iter_modules(family.__path__) if not info.name.startswith("_")]
  return [importlib.import_module(f"{family.__name__}.{name}") for name in names]


def defined(module: ModuleType) -> set[str]:
  """Public functions and classes that a module itself defines."""
  kinds = lambda x: inspect.isfunction(x) or inspect.isclass(x)
  own = {name for name, x in inspect.getmembers(module, kinds) if x.__module__ == module.__name__}
  return {name for name in own if not name.startswith("_")}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_exports_its_functions_and_classes(family):
  own = {name: module for module in modules(family) for name in defined(module)}
  wrong = set(family.__all__) ^ (own.keys() - INSIDE)
  assert not wrong, f"{family.__name__}/__init__.py: import {sorted(wrong)} and name them in __all__, or neither"
  assert len(family.__all__) == len(set(family.__all__))
  for name in family.__all__:
    assert getattr(family, name) is getattr(own[name], name)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_no_function_has_the_name_of_a_file_beside_it(family):
  assert not {module.__name__.rpartition(".")[2] for module in modules(family)} & set(family.__all__)


def test_a_name_is_in_one_family():
  count = Counter(name for family in FAMILIES.values() for name in family.__all__)
  assert not [name for name, times in count.items() if times > 1]


def test_all_families_are_reached_from_kernels():
  found = {info.name for info in pkgutil.iter_modules(kernels.__path__) if not info.name.startswith("_")}
  assert found - {"benchmarks"} == {name for name in kernels.__all__ if inspect.ismodule(getattr(kernels, name))}


def test_kernels_of_an_accelerator_are_imported_when_they_are_called():
  code = "import sys, rl_jax.kernels; print([name for name in sys.modules if 'pallas' in name])"
  printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
  assert printed.strip() == "[]"
