"""Fixtures of the invariance tests."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def rng():
  return np.random.default_rng(0)  # as for `Kernel.expected`
