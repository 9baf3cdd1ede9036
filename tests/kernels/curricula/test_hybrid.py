from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.curricula.hybrid import hybrid_rows
from tests.kernels.kernel import Kernel


def test_half_and_half_from_none_to_all():
  for iteration, offline in ((0, 0), (1, 2), (2, 4), (3, 5)):
    rows = hybrid_rows(jnp.array(iteration), offline=5, online=6, per_iteration=2)
    np.testing.assert_array_equal(rows.offline, np.arange(5) < offline)
    np.testing.assert_array_equal(rows.online, np.arange(6) < 2 * iteration)


def _rows(iteration):
  return hybrid_rows(iteration[0], offline=4, online=3)


KERNELS = [
  Kernel(
    _rows,
    {"iteration": "N"},
    mask=None,
    public=hybrid_rows,
    draws={"iteration": lambda rng, shape: np.array([2], np.int32)},
    sizes={"N": 1},
  )
]
