from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.analysis.graph_spectrum import laplacian_distance, laplacian_spectrum
from tests.kernels.kernel import Kernel

PATH, CYCLE = jnp.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]), 1 - jnp.eye(3)
ALL = jnp.ones(3)


def test_path_and_cycle():
  np.testing.assert_allclose(laplacian_spectrum(PATH, ALL), [0, 1, 2], atol=1e-6)
  np.testing.assert_allclose(laplacian_spectrum(CYCLE, ALL), [0, 1.5, 1.5], atol=1e-6)
  np.testing.assert_allclose(laplacian_distance(PATH, CYCLE, ALL, ALL, k=3), np.sqrt(0.5), atol=1e-6)
  np.testing.assert_allclose(laplacian_distance(PATH, CYCLE, ALL, ALL, k=2), 0.5, atol=1e-6)


@pytest.mark.parametrize("isolated", [0.0, 1.0])
def test_a_node_without_edges(isolated):
  edges = jnp.array([[0, 0, 4], [0, 0, 0], [4, 0, 0]])
  np.testing.assert_allclose(laplacian_spectrum(edges, ALL, isolated=isolated), [0, isolated, 2], atol=1e-6)


def test_only_nodes_that_exist_count():
  # The edge to the middle node is gone with it: two isolated nodes are left.
  np.testing.assert_array_equal(laplacian_spectrum(PATH, jnp.array([1, 0, 1])), [0, 0, 0])
  pair = jnp.array([[0, jnp.nan, 2], [jnp.nan, jnp.nan, jnp.nan], [2, jnp.nan, 0]])
  np.testing.assert_allclose(laplacian_spectrum(pair, jnp.array([1, 0, 1])), [0, 2, 0], atol=1e-6)


def test_graphs_of_different_sizes():
  pair = jnp.array([[0, 1], [1, 0]])
  np.testing.assert_allclose(laplacian_distance(PATH, pair, ALL, jnp.ones(2), k=3), 1, atol=1e-6)
  assert laplacian_distance(PATH, pair, ALL, jnp.zeros(2), k=3) == 0


SIZES = {"D": 2, "E": 3, "N": 3}


def _edges(rng, shape):
  counts = np.triu(rng.integers(0, 3, shape), k=1)
  return (counts + np.swapaxes(counts, -1, -2)).astype(np.float32)


def _distance(**arrays):
  return laplacian_distance(**arrays, k=3)


KERNELS = [
  Kernel(
    laplacian_spectrum,
    {"adjacency": "BNN", "mask": "BN"},
    draws={"adjacency": _edges},
    sizes=SIZES,
    zero_masked=False,  # eigenvalues fill the first slots, whichever nodes exist
  ),
  Kernel(
    _distance,
    {"adjacency": "BNN", "other_adjacency": "BMM", "mask": "BN", "other_mask": "BM"},
    covers={"other_adjacency": "other_mask"},
    draws={"adjacency": _edges, "other_adjacency": _edges},
    sizes={**SIZES, "M": 4},
    public=laplacian_distance,
  ),
]
