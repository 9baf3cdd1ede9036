from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from kernels.rewards.length import overlong_penalty


def test_floor_is_the_paper_and_the_bare_slope_is_verl():
  lengths = jnp.array([0, 150, 175, 200, 250])
  options = dict(max_length=200, buffer=50)
  np.testing.assert_allclose(overlong_penalty(lengths, **options), [0, 0, -0.5, -1, -1])
  np.testing.assert_allclose(overlong_penalty(lengths, **options, floor=False, factor=2.0), [0, 0, -1, -2, -4])


def test_an_impossible_buffer_is_refused():
  with pytest.raises(ValueError, match="expected 0 < buffer <= max_length, got 0 and 10"):
    overlong_penalty(jnp.ones(1), max_length=10, buffer=0)
