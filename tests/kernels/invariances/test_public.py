"""Every public function of the kernels is in the registry and has an example that runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import jax.numpy as jnp
import pytest

import rl_jax.kernels
from tests.kernels.registry import BY_TEST, KERNELS


def public_functions():
  for info in pkgutil.walk_packages(rl_jax.kernels.__path__, "rl_jax.kernels."):
    if info.name.startswith("rl_jax.kernels.benchmarks") or info.name.rsplit(".", 1)[1].startswith("_"):
      continue
    module = importlib.import_module(info.name)
    for name, function in inspect.getmembers(module, inspect.isfunction):
      if function.__module__ == info.name and not name.startswith("_"):
        yield function


def takes_arrays(function):
  """False for a function of Python numbers, such as the sizes of a layer: no suite is about those."""
  types = dict(inspect.get_annotations(function))
  types.pop("return", None)
  return not set(types.values()) <= {"int", "float", "bool", "str"}


def test_every_public_function_is_registered():
  registered = {k.public or k.function for k in KERNELS}
  unknown = [f for f in public_functions() if takes_arrays(f) and f not in registered]
  missing = [f"{f.__module__}.{f.__name__}" for f in unknown]
  assert not missing, f"add to KERNELS of the test of its module: {missing}"


def test_kernels_are_listed_in_the_test_of_their_module():
  for test, kernels in BY_TEST.items():
    module = ".".join(["rl_jax.kernels", *test.parent.parts, test.stem.removeprefix("test_")])
    assert {(k.public or k.function).__module__ for k in kernels} <= {module}, test


def test_every_public_function_has_an_example():
  assert not [f.__qualname__ for f in public_functions() if ">>>" not in (f.__doc__ or "")]


MODULES = [info.name for info in pkgutil.walk_packages(rl_jax.kernels.__path__, "rl_jax.kernels.")]
TIMED = [name for name in MODULES if name.startswith("rl_jax.kernels.benchmarks")]


@pytest.mark.parametrize(
  "name", [pytest.param(name, marks=pytest.mark.slow) if name in TIMED else name for name in MODULES]
)
def test_examples_run(name):
  results = doctest.testmod(importlib.import_module(name), extraglobs={"jnp": jnp})
  assert results.failed == 0
