"""Every paper against reference numbers from slow NumPy re-implementations of its equations and code."""

from __future__ import annotations

import pytest

from tests.kernels import goldens


@pytest.mark.parametrize("key", goldens.KEYS)
def test_float64(key):
  goldens.check(key, precision="float64")


@pytest.mark.slow  # what it compiles takes as long again; the invariances run in float32 anyway
@pytest.mark.parametrize("key", goldens.KEYS)
def test_float32(key):
  goldens.check(key, precision="float32")
