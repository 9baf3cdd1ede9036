"""Every paper against reference numbers from slow NumPy re-implementations of its equations and code."""

from __future__ import annotations

import pytest

from tests.kernels import goldens


@pytest.mark.parametrize("precision", goldens.TOLERANCES)
@pytest.mark.parametrize("key", goldens.KEYS)
def test_goldens(key, precision):
  goldens.check(key, precision=precision)
