from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.search.beam import beam_select
from tests.kernels.kernel import Kernel

VALUES = jnp.array([[0.5, 0.5, jnp.nan, 0.75], [0.1, 0.2, 0.3, 0.4]])
PROGRESS = jnp.array([[0.0, 0.0, 9.0, -1.0], [0.0, 0.0, 0.0, 0.0]])
MASK = jnp.array([[1, 1, 0, 1], [0, 0, 1, 0]])


def test_best_first_ties_in_order_masked_candidates_never():
  beam = beam_select(VALUES, PROGRESS, MASK, width=2)
  np.testing.assert_array_equal(beam.indices, [[0, 1], [2, 0]])
  np.testing.assert_array_equal(beam.kept, [[True, True], [True, False]])
  np.testing.assert_allclose(beam.scores, [[0.5, 0.5, 0, 0.25], [0, 0, 0.3, 0]])


def test_without_alpha_it_searches_on_values():
  np.testing.assert_array_equal(beam_select(VALUES, PROGRESS, MASK, width=2, alpha=0.0).indices, [[3, 0], [2, 0]])


def test_a_beam_wider_than_its_candidates():
  with pytest.raises(ValueError, match="width 5 is more than the 4 candidates"):
    beam_select(VALUES, PROGRESS, MASK, width=5)


STEPS = {"values": "BS", "advantages": "BS", "mask": "BS"}

KERNELS = [
  Kernel(beam_select, STEPS, {"width": 2}),
]
